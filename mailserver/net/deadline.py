"""The time that a client has to make progress: one timer per connection, that is seldom reset.

Progress moves a date alone; the timer looks at it when it fires, and goes on waiting if there is time left.
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
        """From now on there are ``seconds`` at most."""
        self._seconds = min(self._seconds, seconds)
        if self._timer.active():
            self._timer.reset(self._seconds)

    def cancel(self) -> None:
        """The connection is gone; forget it, so that its memory is free at once."""
        if self._timer.active():
            self._timer.cancel()
        del self._last_progress, self._passed

    def _look(self) -> None:
        left = self._last_progress() + self._seconds - self._reactor.seconds()
        self._timer = self._reactor.callLater(left if left > 0 else self._seconds, self._look)
        if left <= 0:
            self._passed()
