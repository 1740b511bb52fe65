"""A server that is about to be killed, its clients, and their ledger.

Once the server is gone every client ends at once, and notes in the ledger how far it came.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.crash.ledger import Ledger, Sent
from tests.crash.outside import REPORTER, Outside
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.pids import runs
from tests.support.e2e.server import DOMAIN, Server, configuration

CROWD = [f"member{number}" for number in range(50)]
FRESH = [f"fresh{number}" for number in range(300)]
PEOPLE = ["alice", "bob", "carol", "dave", "erin", "frank"]
TEAM, CLUB = ["bob", "carol"], ["dave", "erin", "frank"]

TABLES = f"""
[[alias]]
address = "team@{DOMAIN}"
to = [{", ".join(f'"{name}@{DOMAIN}"' for name in TEAM)}]

[[alias]]
address = "everybody@{DOMAIN}"
to = ["alice@{DOMAIN}", "team@{DOMAIN}", "club@{DOMAIN}"]

[[list]]
address = "club@{DOMAIN}"
members = [{", ".join(f'"{name}@{DOMAIN}"' for name in CLUB)}]
"""


class Stand:
    """A server, its clients and their ledger, on a data directory that lasts over many points."""

    def __init__(
        self,
        directory: Path,
        name: str,
        launch: Callable[..., list[str]],
        *,
        host: str = "127.0.0.1",
        background: float = 0.0,
        early: bool = False,
        workers: int = 1,
    ) -> None:
        """``background`` are the seconds in which an idle server finishes what it does after the answer."""
        listen = [(protocol, f"tcp:0:interface={host}") for protocol in ("smtp", "pop3")]
        accounts = [*PEOPLE, *CROWD, *FRESH, REPORTER]
        self.outside = Outside()
        tables = TABLES + self.outside.tables
        top = f"allow_root = true\nworkers = {workers}"
        config = configuration(top=top, listen=listen, accounts=accounts, tables=tables)
        self.server = Server(directory, config, launch=launch)
        self.ledger = Ledger(name)
        self.wrong: list[str] = []
        self.victims: list[int] = []
        """The workers that may be killed: if one is, the server counts as dead."""
        self._workers = workers
        self._background = background
        self._early = early
        self._fresh = itertools.cycle(FRESH)
        self._clients = ThreadPoolExecutor(20)

    def fresh(self) -> str:
        """A mailbox that has not been used, at least for long."""
        return next(self._fresh)

    @property
    def dead(self) -> bool:
        process = self.server.process
        return process is None or process.poll() is not None or not all(map(runs, self.victims))

    def begins_life(self) -> None:
        """The server is about to start."""
        self.victims.clear()
        self.outside.begins_life(self.server.log)

    def close(self) -> None:
        self._clients.shutdown()
        self.outside.close()
        process = self.server.process
        if process is not None and process.poll() is None:
            self.server.kill()

    # SMTP

    def send(self, *boxes: str, to: Iterable[str] = (), size: int = 400) -> None:
        """Send a message that goes to these mailboxes, because they are the recipients or behind them."""
        self.carry(self.ledger.new(to or boxes, boxes, size))

    def send_out(self, *to: str, size: int = 400, sender: str = "", wants: str = "") -> None:
        """Send a message to these addresses on other servers, and to mailboxes."""
        boxes = [each for each in to if "@" not in each]
        self.carry(self.ledger.new(to, boxes, size, sender or f"{REPORTER}@{DOMAIN}", wants))

    def administer(self, action: str, to: str = "") -> None:
        """See :meth:`Outside.administer`."""
        self.outside.administer(self.server, action, to)

    def at_once(self, *tasks: Callable[[], None]) -> None:
        """Carry out all the tasks, each in its own thread."""
        for done in [self._clients.submit(task) for task in tasks]:
            done.result()

    def carry(self, sent: Sent) -> None:
        """One transaction in one connection."""
        octets = sent.octets.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        with self._until_it_dies(str(sent)), Smtp(self.server.smtp) as client:
            to = [name if "@" in name else f"{name}@{DOMAIN}" for name in sent.to]
            if sent.sender:
                client.begin(sent.sender, *to, notify="SUCCESS,FAILURE,DELAY" if sent.wants else "")
                self.outside.begins(sent)
            else:
                client.begin(SENDER, *to)
            self.ledger.begins(sent)
            client.send(octets)
            sent.answered += self._early
            reply = client.reply()
            if reply.startswith(b"451 ") and self._workers > 1:
                pass  # the first worker may be dead; it may have accepted the message before
            elif not reply.startswith(b"250 "):
                sent.refused += 1
                self.wrong.append(f"{sent} was refused: {reply!r}")
            elif not self._early:
                sent.answered += 1
                sent.ids.append(reply.split()[-1].decode())

    @contextmanager
    def _until_it_dies(self, what: str) -> Iterator[None]:
        """Connections may break if the server is gone; anything else that goes wrong is noted."""
        try:
            yield
        except AssertionError as error:
            if self._workers == 1 or not self.dead:
                self.wrong.append(f"{what}: {error}")
        except (OSError, EOFError) as error:
            end = time.monotonic() + 5
            while not self.dead:
                if time.monotonic() > end:
                    self.wrong.append(f"{what}: the server lives, but {error!r}")
                    break
                time.sleep(0.001)

    # POP3

    def remove(self, name: str) -> None:
        """Read and remove all messages of a mailbox, in one session."""
        with self._until_it_dies(f"removing from {name}"), Mailbox(self.server, name).login() as session:
            uids = [line.split()[1].decode() for line in session.multi(b"UIDL").splitlines()]
            for number, uid in enumerate(uids, 1):
                self.wrong += self.ledger.saw(name, uid, session.multi(b"RETR %d" % number))
                session.expect(b"DELE %d" % number, b"+OK")
            self.ledger.quits(name, uids)
            session.expect(b"QUIT", b"+OK")
            self.ledger.quit_answered(name, uids)

    def leave(self, name: str) -> None:
        """Mark all messages of a mailbox, and go without QUIT: nothing may be removed."""
        with self._until_it_dies(f"marking in {name}"), Mailbox(self.server, name).login() as session:
            for number, _ in enumerate(session.multi(b"LIST").splitlines(), 1):
                session.expect(b"DELE %d" % number, b"+OK")

    def look(self, name: str, *, all_of_it: bool = False) -> None:
        """Compare a mailbox with the ledger; read what nobody has read yet, or ``all_of_it``."""
        with Mailbox(self.server, name).login() as session:
            uids = [line.split()[1].decode() for line in session.multi(b"UIDL").splitlines()]
            sizes = [int(line.split()[1]) for line in session.multi(b"LIST").splitlines()]
            unread = set(uids if all_of_it else self.ledger.unread(name, uids))
            found: dict[str, bytes | None] = dict.fromkeys(uids)
            for number, (uid, size) in enumerate(zip(uids, sizes, strict=True), 1):
                if uid in unread:
                    found[uid] = stored = session.multi(b"RETR %d" % number)
                    if len(stored) != size:
                        self.wrong.append(f"{name}: {uid} has {len(stored)} octets, LIST said {size}")
            session.expect(b"QUIT", b"+OK")
        if len(found) != len(uids):
            self.wrong.append(f"{name}: a unique-id twice: {uids}")
        self.wrong += self.ledger.check(name, found)

    def look_at_all(self) -> None:
        """Compare every mailbox in which something may have changed."""
        for name in sorted(self.ledger.touched):
            self.look(name)
        self.wrong += self.outside.check(self.server)

    def empty(self) -> None:
        """Read everything once more, remove it all, and begin with empty mailboxes."""
        for name in self.ledger.boxes():
            self.look(name, all_of_it=True)
            self.remove(name)
            self.look(name)
            self.ledger.emptied(name)

    # Background

    def crash(self) -> None:
        """Kill the server a few milliseconds from now."""
        time.sleep(0.008)
        self.server.kill()

    def sync(self) -> None:
        """Leave the server alone for long enough, or until it is gone."""
        end = time.monotonic() + self._background
        while not self.dead and time.monotonic() < end:
            time.sleep(0.01)
