"""What the clients do to a server that is about to be killed, in steps between which a tracer is attached.

A workload is a generator: at each ``yield`` a step is done. Once the server is gone every client ends at
once, and notes in the ledger how far it came.
"""

import itertools
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.crash.ledger import Ledger, Sent
from tests.crash.outside import DEFERRED, FAR, REFUSED, REPORTER, Outside
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
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
    ) -> None:
        """``background`` are the seconds in which an idle server finishes what it does after the answer."""
        listen = [(protocol, f"tcp:0:interface={host}") for protocol in ("smtp", "pop3")]
        accounts = [*PEOPLE, *CROWD, *FRESH, REPORTER]
        self.outside = Outside()
        tables = TABLES + self.outside.tables
        config = configuration(listen=listen, accounts=accounts, tables=tables)
        self.server = Server(directory, config, launch=launch)
        self.ledger = Ledger(name)
        self.wrong: list[str] = []
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
        return process is None or process.poll() is not None

    def close(self) -> None:
        self._clients.shutdown()
        self.outside.close()
        process = self.server.process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    # SMTP

    def send(self, *boxes: str, to: Iterable[str] = (), size: int = 400) -> None:
        """Send a message that goes to these mailboxes, because they are the recipients or behind them."""
        self.carry(self.ledger.new(to or boxes, boxes, size))

    def send_out(self, *to: str, size: int = 400) -> None:
        """Send a message to these addresses on the other server."""
        self.carry(self.ledger.new(to, (), size))

    def at_once(self, *tasks: Callable[[], None]) -> None:
        """Carry out all the tasks, each in its own thread."""
        for done in [self._clients.submit(task) for task in tasks]:
            done.result()

    def carry(self, sent: Sent) -> None:
        """One transaction in one connection."""
        octets = sent.octets.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        with self._until_it_dies(str(sent)), Smtp(self.server.smtp) as client:
            if sent.boxes:
                client.begin(SENDER, *(f"{name}@{DOMAIN}" for name in sent.to))
            else:
                client.begin(f"{REPORTER}@{DOMAIN}", *sent.to)
                self.outside.begins(sent)
            self.ledger.begins(sent)
            client.send(octets)
            sent.answered += self._early
            reply = client.reply()
            if not reply.startswith(b"250 "):
                sent.refused += 1
                self.wrong.append(f"{sent} was refused: {reply!r}")
            elif not self._early:
                sent.answered += 1

    @contextmanager
    def _until_it_dies(self, what: str) -> Iterator[None]:
        """Connections may break if the server is gone; anything else that goes wrong is noted."""
        try:
            yield
        except AssertionError as error:
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


# Workloads


def one(stand: Stand) -> Iterator[None]:
    """One sender, one recipient: a mailbox that is not there yet, then one that is; a quiet moment."""
    stand.send(stand.fresh())
    yield
    stand.send("alice")
    yield
    stand.sync()
    yield
    stand.send("alice")
    yield
    stand.sync()


def fifty(stand: Stand) -> Iterator[None]:
    """Fifty recipients."""
    stand.send(*CROWD)
    yield
    stand.sync()


def fan(stand: Stand) -> Iterator[None]:
    """An alias, a list, and an alias that leads to both, with a recipient named beside them."""
    stand.send(*TEAM, to=["team"])
    yield
    stand.send(*CLUB, "alice", to=["club", "alice"])
    yield
    stand.send("alice", *TEAM, *CLUB, to=["everybody"])
    yield
    stand.sync()


def crowd(stand: Stand) -> Iterator[None]:
    """Twenty senders at once, each with two messages, to one or two of six mailboxes."""

    def sender(number: int) -> Callable[[], None]:
        def run() -> None:
            stand.send(PEOPLE[number % 6], size=400 * number)
            stand.send(PEOPLE[number % 6], PEOPLE[(number + 1) % 6])

        return run

    stand.at_once(*map(sender, range(20)))
    yield
    stand.sync()


def pop3(stand: Stand) -> Iterator[None]:
    """Sessions that remove: what has been there for a while, what came a moment ago, during deliveries."""
    stand.remove("frank")  # since the last point
    yield
    for _ in range(3):
        stand.send("alice", "bob", "frank")
    yield
    stand.remove("alice")
    yield
    stand.send("alice", "bob", "carol")
    stand.leave("carol")
    yield
    stand.at_once(
        lambda: stand.remove("alice"),
        lambda: stand.remove("bob"),
        *[lambda: stand.send("carol", "dave") for _ in range(4)],
    )
    yield
    stand.sync()


def large(stand: Stand) -> Iterator[None]:
    """300 KB and 3 MB, to one mailbox and to three, and small ones at the same time."""
    stand.send("alice", size=300_000)
    yield
    stand.send("alice", "bob", "carol", size=3_000_000)
    yield
    stand.at_once(
        lambda: stand.send("alice", "bob", size=300_000),
        lambda: stand.send("carol", size=3_000_000),
        *[lambda: stand.send("dave") for _ in range(3)],
    )
    yield
    stand.sync()


def recovery(stand: Stand) -> Iterator[None]:
    """What the server has to recover from: killed in the middle of deliveries, after removals."""
    stand.send("alice", "bob", size=2000)
    stand.send("carol", size=300_000)
    stand.remove("alice")
    stand.at_once(*[lambda: stand.send(*PEOPLE[:3]) for _ in range(8)])
    stand.remove("bob")
    stand.at_once(stand.crash, *[lambda: stand.send(*PEOPLE[:3]) for _ in range(4)])
    yield


def relay(stand: Stand) -> Iterator[None]:
    """To another server: one recipient, several, one that it refuses, one that must wait; many at once."""
    stand.send_out(f"a@{FAR}")
    yield
    stand.send_out(f"a@{FAR}", f"b@{FAR}", REFUSED)
    yield
    stand.send_out(f"a@{FAR}", DEFERRED, size=300_000)
    yield
    stand.at_once(*[lambda: stand.send_out(f"a@{FAR}", f"b@{FAR}") for _ in range(8)])
    yield
    stand.sync()


def waiting(stand: Stand) -> Iterator[None]:
    """A start with a queue for another server, which has deferred everything and serves again."""
    stand.outside.refuse_for_now(True)
    stand.send_out(f"a@{FAR}", REFUSED)
    stand.at_once(*[lambda: stand.send_out(f"a@{FAR}", f"b@{FAR}") for _ in range(6)])
    stand.at_once(stand.crash, *[lambda: stand.send_out(f"a@{FAR}") for _ in range(3)])
    stand.outside.refuse_for_now(False)
    yield


WORKLOADS: dict[str, Callable[[Stand], Iterator[None]]] = {
    work.__name__: work for work in (one, fifty, fan, crowd, pop3, recovery, large, relay, waiting)
}
STARTS = ("recovery", "waiting")
"""The workloads that end with a killed server: the start is what is traced."""


# Controls: how a server would behave that breaks the promise. ``early`` is known to the Stand.


def lose(data: Path, before: Path) -> None:
    """The newest message and the spool are not there after the crash."""
    shutil.rmtree(data / "spool", ignore_errors=True)
    if newest := _newest(data):
        newest.unlink()


def tear(data: Path, before: Path) -> None:
    """Half of the newest message is not there after the crash."""
    shutil.rmtree(data / "spool", ignore_errors=True)
    if newest := _newest(data):
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])


def back(data: Path, before: Path) -> None:
    """The messages that were there before are there again after the crash."""
    for path in _messages(before):
        if not list(data.glob(f"mail/*/*/*/{path.name.partition(',')[0]}*")):
            there = data / path.relative_to(before)
            shutil.copy2(path, there)


def early(data: Path, before: Path) -> None:
    """A final dot counts as answered 250 once it has been sent."""


CONTROLS = {control.__name__: control for control in (early, lose, tear, back)}


def _messages(data: Path) -> list[Path]:
    return [path for folder in ("new", "cur") for path in data.glob(f"mail/*/*/{folder}/*")]


def _newest(data: Path) -> Path | None:
    return max(_messages(data), key=lambda path: path.stat().st_mtime_ns, default=None)
