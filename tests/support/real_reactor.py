"""A reactor with sockets and real time, for code that must meet the operating system."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

PATIENCE = 60.0  # seconds
TICK = 0.05  # seconds


class RealReactor(EPollReactor):
    """It runs while a test waits, and is not the reactor of the process."""

    def wait(self, deferred: "Deferred[Any]") -> Any:
        """The result of ``deferred``, or its exception."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        deadline = monotonic() + PATIENCE
        while not results:
            assert monotonic() < deadline, f"nothing happened in {PATIENCE} seconds"
            self.runUntilCurrent()
            due = self.timeout()
            self.doIteration(TICK if due is None else min(due, TICK))
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


@contextmanager
def real_reactor() -> Iterator[RealReactor]:
    """A reactor; at the end it must have no socket and no timer."""
    reactor = RealReactor()
    own = set(reactor.getReaders())
    yield reactor
    for _ in range(3):
        reactor.iterate(0)  # what has been closed is forgotten in the next rounds
    left = [*(set(reactor.getReaders()) - own), *reactor.getWriters(), *reactor.getDelayedCalls()]
    for reader in own:
        reader.connectionLost(Failure(ConnectionError()))  # the waker's own sockets
    assert not left
