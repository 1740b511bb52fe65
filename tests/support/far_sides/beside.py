"""Far sides beside a server that is another process: on a reactor in a thread of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.threads import blockingCallFromThread

from tests.support.far_sides.far_side import FarSide


class FarSides:
    """Makes far sides, each on an address and a port."""

    def __init__(self) -> None:
        self.reactor = EPollReactor()
        self.made: list[FarSide] = []
        self._thread = Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)
        self._thread.start()

    def listen(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> tuple[FarSide, int]:
        """A far side with these options of :class:`FarSide`, and its port."""
        far = FarSide(reactor=self.reactor, **options)
        listening = blockingCallFromThread(self.reactor, self.reactor.listenTCP, port, far, 200, host)
        self.made.append(far)
        return far, listening.getHost().port

    def close(self) -> None:
        """End all ports and connections."""
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def far_sides() -> Iterator[FarSides]:
    """Far sides for one test. A client that has done what no client may do fails it."""
    sides = FarSides()
    try:
        yield sides
    finally:
        sides.close()
    assert not [fault for far in sides.made for fault in far.faults]
