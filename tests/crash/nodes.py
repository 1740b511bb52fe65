"""Kills servers that share a database, and the database, while clients are at work.

    python -m tests.crash.nodes [--moments N] [--seed N] [--control fence]

Three servers on one database serve clients that send, and clients that remove. At random moments a server or
the database is killed, or the connection between a server and the database is cut. What was answered 250 must
be in its mailboxes, what was removed must stay away, and no session may have a mailbox that another one has:
after its lease has ended, a session removes nothing.

With ``--control`` the servers do not check the fences of leases, and something must be found.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.crash.shared_database import HELD, SharedDatabase
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import DOMAIN, PASSWORD
from tests.support.postgresql import PostgreSQL, running
from tests.support.postgresql_link import Link

NODES = 3
CHECKED_EACH = 10  # moments
SPOILT = Path(__file__).parent / "spoilt"
CONTROLS = ("fence",)
LOST = "a session whose lease had ended has removed a message"


class Campaign(SharedDatabase):
    """A database that is killed, the servers on it, and their clients."""

    def __init__(self, folder: Path, database: PostgreSQL, seed: int, control: str = "") -> None:
        self._database = database
        if control:
            paths = [str(SPOILT), *filter(None, [os.environ.get("PYTHONPATH")])]
            os.environ.update(PYTHONPATH=os.pathsep.join(paths), SPOILT=control)
        self._space = database.new_space()
        folders = [folder / f"link{number}" for number in range(NODES)]
        self.links = [Link(each, database.folder) for each in folders]
        url, host = database.url(self._space), f"host={database.folder}"
        super().__init__(folder, [url.replace(host, f"host={each}") for each in folders], "nodes")
        self.moments: Counter[str] = Counter()
        self._dice = random.Random(seed)

    def run(self, moments: int, seed: int) -> None:
        """Do something at so many moments, or until something is wrong."""
        for server in self.servers:
            server.start()
        Mailbox(self.servers[0], HELD).fill(b"Subject: first\r\n\r\n", b"Subject: second\r\n\r\n")
        self.clients.start(seed)
        acts = [self._kill, self._kill_database, self._cut, self._overtake]
        for moment in range(1, moments + 1):
            time.sleep(self._dice.uniform(0.05, 0.6))
            (act,) = self._dice.choices(acts, [5, 1, 3, 1])
            self.moments[act.__name__.strip("_")] += 1
            act()
            if moment % CHECKED_EACH == 0 or moment == moments:
                self._check()
            if self.wrong:
                break
        self.stop_clients()

    def _kill(self) -> None:
        server = self._dice.choice(self.servers)
        server.kill()
        time.sleep(self._dice.uniform(0, 0.5))
        server.start()

    def _kill_database(self) -> None:
        self._database.kill()
        time.sleep(self._dice.uniform(0, 2))
        self._database.start()

    def _cut(self) -> None:
        link = self._dice.choice(self.links)
        link.cut()
        time.sleep(self._dice.choice((0.0, 0.1, 2.0)))
        link.mend()

    def _overtake(self) -> None:
        """The lease of a session ends, as if its server had slept. Another session gets the mailbox."""
        one, two = self._dice.sample(self.servers, 2)
        with Pop3(one.pop3) as slow, Pop3(two.pop3) as other:
            # The lease of an earlier session may last for a while, and a server may have no connection.
            if not self._logs_in(slow, 60):
                self.wrong.append("nobody has the mailbox, and it is locked")
                return
            if self._logs_in(other):
                self.wrong.append("two sessions have locked one mailbox")
                return
            assert slow.ask(b"DELE 1").startswith(b"+OK")
            for _ in range(5):  # a heartbeat may come between, and the session keeps its lease
                self._database.execute(
                    f"UPDATE {self._space}.lease SET until = now() - interval '1 s'"
                    f" WHERE name = '{DOMAIN}/{HELD}'"
                )
                if self._logs_in(other, 3):
                    break
            else:
                self.wrong.append("a mailbox is locked though the lease has ended")
                return
            if slow.ask(b"QUIT").startswith(b"+OK"):
                self.wrong.append(LOST)
            other.ask(b"QUIT")

    def _logs_in(self, session: Pop3, seconds: float = 0) -> bool:
        """Whether the session gets the mailbox within so many seconds."""
        end = time.monotonic() + seconds
        while True:
            session.ask(f"USER {HELD}".encode())
            if session.ask(f"PASS {PASSWORD}".encode()).startswith(b"+OK"):
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.2)

    def _check(self) -> None:
        leases = f"SELECT name FROM {self._space}.lease WHERE name NOT LIKE 'node %' AND until > now()"
        self.check(self._dice, lambda: self._database.execute(leases))

    def end(self) -> None:
        """End everything, however the campaign went."""
        super().end()
        for link in self.links:
            link.close()


def main() -> int:
    """The long form; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.nodes", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--moments", type=int, default=200, metavar="N", help="at how many moments something happens (200)")
    add("--seed", type=int, default=0, metavar="N", help="another seed, other moments")
    add("--control", choices=CONTROLS, default="", help="what is not checked; something must be found then")
    given = parser.parse_args()
    began = time.monotonic()
    with running() as database, tempfile.TemporaryDirectory(prefix="mailserver-nodes-") as folder:
        campaign = Campaign(Path(folder), database, given.seed, given.control)
        try:
            campaign.run(given.moments, given.seed)
        finally:
            campaign.end()
        for text in campaign.wrong[:20]:
            print(f"VIOLATION: {text}")
        counts = campaign.clients.counts
        print(
            f"{campaign.moments.total()} moments ({dict(campaign.moments)}) in "
            f"{time.monotonic() - began:.0f} s, {counts['answered']} messages, {counts['copies']} copies, "
            f"{counts['removed']} removed: {len(campaign.wrong)} violations"
        )
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
