"""A timer for a limit that changes often: it is only moved when it would fire too late."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class LimitTimer:
    """Calls ``passed`` when the time of the limit has come."""

    __slots__ = ("_call", "_limit", "_passed", "_reactor")

    def __init__(
        self, reactor: IReactorTime, limit: Callable[[], float | None], passed: Callable[[], None]
    ) -> None:
        """``limit`` returns the time, by the clock of the reactor, or None if there is no limit now."""
        self._reactor = reactor
        self._limit = limit
        self._passed = passed
        self._call: IDelayedCall | None = None

    def update(self) -> None:
        """The limit may have changed."""
        limit = self._limit()
        if limit is None:
            return
        if self._call is None:
            self._call = self._reactor.callLater(max(limit - self._reactor.seconds(), 0.0), self._look)
        elif self._call.getTime() > limit:
            self._call.reset(max(limit - self._reactor.seconds(), 0.0))

    def stop(self) -> None:
        """Stop, until the next update."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        limit = self._limit()
        if limit is not None and limit <= self._reactor.seconds():
            self._passed()
        else:
            self.update()
