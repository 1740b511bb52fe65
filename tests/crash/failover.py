"""Kills the primary of two servers of PostgreSQL with synchronous replication, and promotes the standby.

    python -m tests.crash.failover [--rounds N] [--seed N] [--control]

Three servers on the database serve clients that send, and clients that remove. In each round the primary is
killed, the standby is promoted at once or after some seconds, and the servers find it by themselves. What was
answered 250 must be in its mailboxes, and what was removed must stay away. Then the server that was killed
becomes the new standby.

With ``--control`` no commit waits for the standby, which receives nothing for a while before the kill, and
losses must be found.
"""

import argparse
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.crash.shared_database import HELD, SharedDatabase
from tests.crash.traffic import Failures
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Server, wait_until
from tests.support.postgresql_pair import Replicated, replicated

NODES = 3
ANSWERS = 40  # messages before a kill, and as many after it
# Seconds until a standby is promoted. Commits whose outcome is unknown end after five.
UNTIL_PROMOTED, WEIGHTS = (0.0, 1.0, 7.0), (6, 3, 1)
LEASES = "SELECT name FROM lease WHERE name NOT LIKE 'node %' AND until > now()"


class Failover(SharedDatabase):
    """Both servers of PostgreSQL, the servers on them, and their clients."""

    def __init__(self, folder: Path, pair: Replicated, seed: int, *, paused: bool = False) -> None:
        super().__init__(folder, [pair.url] * NODES, "failover")
        self.accepted_after: list[float] = []
        """Seconds from a promotion until all servers accept mail and logins."""
        self._pair = pair
        self._paused = paused
        self._seed = seed
        self._dice = random.Random(seed)

    def run(self, rounds: int) -> None:
        """Kill so many primaries, or until something is wrong."""
        for server in self.servers:
            server.start()
        self.clients.start(self._seed, removers=2)
        for _ in range(rounds):
            self._round()
            if self.wrong:
                break
            self._pair.rejoin()
        self.stop_clients()

    def _round(self) -> None:
        self.clients.wait_for(ANSWERS)
        if self._paused:
            self._pair.pause()
            self.clients.wait_for(ANSWERS)
        time.sleep(self._dice.uniform(0, 0.3))
        self._pair.fail()
        time.sleep(*self._dice.choices(UNTIL_PROMOTED, WEIGHTS))
        self._pair.promote()
        began = time.monotonic()
        for server in self.servers:
            wait_until(partial(_serves, server), "a server on the new primary")
        self.accepted_after.append(time.monotonic() - began)
        self.clients.wait_for(ANSWERS)
        self.check(self._dice, lambda: self._pair.primary.execute(LEASES))


def _serves(server: Server) -> bool:
    try:
        Mailbox(server, HELD).fill(b"Subject: after the promotion\r\n\r\n")
        Mailbox(server, HELD).uids()
    except Failures:
        return False
    return True


def main() -> int:
    """The long form; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.failover", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("--rounds", type=int, default=50, metavar="N", help="how many primaries are killed (50)")
    add("--seed", type=int, default=0, metavar="N", help="another seed, other moments")
    add("--control", action="store_true", help="without synchronous replication; losses must be found")
    given = parser.parse_args()
    began = time.monotonic()
    with (
        replicated(synchronous=not given.control) as pair,
        tempfile.TemporaryDirectory(prefix="mailserver-failover-") as folder,
    ):
        campaign = Failover(Path(folder), pair, given.seed, paused=given.control)
        try:
            campaign.run(given.rounds)
        finally:
            campaign.end()
    for text in campaign.wrong[:20]:
        print(f"VIOLATION: {text}")
    counts, after = campaign.clients.counts, sorted(campaign.accepted_after)
    print(
        f"{len(after)} primaries killed in {time.monotonic() - began:.0f} s, {counts['answered']} messages, "
        f"{counts['copies']} copies, {counts['removed']} removed: {len(campaign.wrong)} violations; mail "
        f"accepted after a promotion within {after[len(after) // 2]:.2f} s (median), {after[-1]:.2f} s (most)"
    )
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
