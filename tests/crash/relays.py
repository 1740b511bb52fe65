"""Workloads with mail for other servers, beside those in ``workloads``."""

from collections.abc import Callable, Iterator

from tests.crash.killed import Stand
from tests.crash.older import make_older
from tests.crash.outside import CHIEF, DEFERRED, ENDED, FAR, GONE, LOST, OTHER, REFUSED


def relay(stand: Stand) -> Iterator[None]:
    """To other servers, and to mailboxes with them; small and large; many at once."""
    stand.send_out(f"a@{FAR}")
    yield
    stand.send_out(f"a@{FAR}", f"c@{OTHER}", "alice", "bob")
    yield
    stand.send_out(f"a@{FAR}", f"b@{FAR}", f"c@{OTHER}", "carol", size=300_000)
    yield
    stand.at_once(*[lambda: stand.send_out(f"a@{FAR}", f"b@{FAR}") for _ in range(8)])
    yield
    stand.sync()


def uncertain(stand: Stand) -> Iterator[None]:
    """Recipients that must wait, one of them until its sender is warned, and an answer that is lost."""
    stand.send_out(f"a@{FAR}", DEFERRED)
    yield
    stand.send_out(LOST, f"a@{FAR}", size=300_000)
    yield
    stand.send_out(f"slow-*@{FAR}", wants="delayed")
    yield
    stand.sync()


def reports(stand: Stand) -> Iterator[None]:
    """Recipients that are refused, and senders who want to know of success; senders here and elsewhere."""
    stand.send_out(f"a@{FAR}", REFUSED)
    yield
    stand.send_out(REFUSED, f"b@{FAR}", "alice", sender=CHIEF, size=100_000)
    yield
    stand.send_out(f"c@{OTHER}", wants="relayed")
    yield
    stand.send_out(f"c@{OTHER}", sender=CHIEF, wants="relayed")
    yield
    stand.sync()


def administration(stand: Stand) -> Iterator[None]:
    """Recipients that an administrator holds, removes, expires, releases and tries."""
    stand.outside.refuse_for_now(True)
    stand.send_out(f"a@{FAR}", ENDED, GONE)
    stand.send_out(ENDED, GONE, size=100_000)
    yield
    stand.administer("hold", f"a@{FAR}")
    yield
    stand.administer("remove", GONE)
    yield
    stand.administer("expire", ENDED)
    yield
    stand.outside.refuse_for_now(False)
    stand.administer("release", f"a@{FAR}")
    stand.administer("retry")
    yield
    stand.sync()


def waiting(stand: Stand) -> Iterator[None]:
    """A start with a queue for other servers, one of which has deferred everything and serves again."""
    stand.outside.refuse_for_now(True)
    stand.send_out(f"a@{FAR}", REFUSED)
    stand.at_once(*[lambda: stand.send_out(f"a@{FAR}", f"b@{FAR}") for _ in range(6)])
    stand.at_once(stand.crash, *[lambda: stand.send_out(f"a@{FAR}", f"c@{OTHER}") for _ in range(3)])
    stand.outside.refuse_for_now(False)
    yield


def migration(stand: Stand) -> Iterator[None]:
    """A start that finds such a queue in the format of an older version, which has all contents in files."""
    stand.outside.be_silent()  # version 1 did not know who had been told of a delay
    stand.send_out(f"a@{FAR}", REFUSED, size=100_000)
    stand.send_out(f"a@{FAR}", f"c@{OTHER}", "alice", size=100_000)
    stand.server.kill()
    make_older(stand.server.data / "spool")
    stand.outside.refuse_for_now(False)
    yield


RELAYS: dict[str, Callable[[Stand], Iterator[None]]] = {
    work.__name__: work for work in (relay, uncertain, reports, administration, waiting, migration)
}
