"""Connects to the first of several addresses that answers, in the manner of RFC 8305.

The next address is tried when the one before has failed, or has not answered for :data:`ATTEMPT_DELAY`
seconds. The first connection wins, and the other attempts are cancelled.
"""

from collections.abc import Iterator, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure

ATTEMPT_DELAY = 0.25  # seconds (RFC 8305 section 5)


def connect_first(
    reactor: IReactorTime, endpoints: Sequence[IStreamClientEndpoint], factory: IProtocolFactory
) -> Deferred[IProtocol]:
    """Connect to one of the endpoints, the first ones preferred.

    Fails as the last attempt has failed, when all of them have. May be cancelled.
    """
    if len(endpoints) == 1:
        return endpoints[0].connect(factory)
    return _Race(reactor, endpoints, factory).winner


class _Race:
    """Attempts to connect that run side by side."""

    def __init__(
        self, reactor: IReactorTime, endpoints: Sequence[IStreamClientEndpoint], factory: IProtocolFactory
    ) -> None:
        self._reactor = reactor
        self._endpoints: Iterator[IStreamClientEndpoint] = iter(endpoints)
        self._left = len(endpoints)
        self._factory = factory
        self._attempts: list[Deferred[IProtocol]] = []
        self._timer: IDelayedCall | None = None
        self._over = False
        self.winner: Deferred[IProtocol] = Deferred(lambda _: self._end())
        self._next()

    def _next(self) -> None:
        self._stop_timer()
        if self._left == 0:
            return
        self._left -= 1
        attempt = next(self._endpoints).connect(self._factory)
        self._attempts.append(attempt)
        attempt.addCallbacks(self._connected, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,))
        if self._left and attempt in self._attempts and not self._over:
            self._timer = self._reactor.callLater(ATTEMPT_DELAY, self._next)

    def _connected(self, protocol: IProtocol, attempt: "Deferred[IProtocol]") -> None:
        self._attempts.remove(attempt)
        self._end()
        self.winner.callback(protocol)

    def _failed(self, reason: Failure, attempt: "Deferred[IProtocol]") -> None:
        self._attempts.remove(attempt)
        if self._over:
            reason.trap(CancelledError, ConnectError)
        elif self._left:
            self._next()
        elif not self._attempts:
            self._end()
            self.winner.errback(reason)

    def _end(self) -> None:
        """Cancel all that still runs."""
        self._over = True
        self._stop_timer()
        for attempt in tuple(self._attempts):
            attempt.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
