"""What the clients do to a server that is about to be killed, in steps between which a tracer is attached.

A workload is a generator: at each ``yield`` a step is done.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.crash.killed import CLUB, CROWD, PEOPLE, TEAM, Stand
from tests.crash.relays import RELAYS


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


WORKLOADS: dict[str, Callable[[Stand], Iterator[None]]] = {
    **{work.__name__: work for work in (one, fifty, fan, crowd, pop3, recovery, large)},
    **RELAYS,
}
STARTS = ("recovery", "waiting", "migration")
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
