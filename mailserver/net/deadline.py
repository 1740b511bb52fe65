"""The time limit for a client to make progress: one timer per connection, seldom reset.

Progress only changes a time. When the timer fires it checks that time, and waits again if the limit is not
reached.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime


class Deadline:
    """Calls ``passed`` after ``seconds`` without progress, again and again until it is cancelled."""

    __slots__ = ("_last_progress", "_passed", "_reactor", "_seconds", "_timer")

    def __init__(
        self,
        reactor: IReactorTime,
        seconds: float,
        last_progress: Callable[[], float],
        passed: Callable[[], None],
    ) -> None:
        """``last_progress`` is the time of the reactor's clock when there was progress."""
        self._reactor = reactor
        self._seconds = seconds
        self._last_progress = last_progress
        self._passed = passed
        self._timer = reactor.callLater(seconds, self._look)

    def shorten(self, seconds: float) -> None:
        """Lower the limit to ``seconds``, from now on."""
        self._seconds = min(self._seconds, seconds)
        if self._timer.active():
            self._timer.reset(self._seconds)

    def cancel(self) -> None:
        """Stop, and drop all references to the connection."""
        if self._timer.active():
            self._timer.cancel()
        del self._last_progress, self._passed

    def _look(self) -> None:
        left = self._last_progress() + self._seconds - self._reactor.seconds()
        self._timer = self._reactor.callLater(left if left > 0 else self._seconds, self._look)
        if left <= 0:
            self._passed()
