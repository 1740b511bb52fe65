"""Says when messages may have come, to requests that wait for one.

A message that this process accepts is reported at once. The requests look for those of other workers and
other programs by themselves.
"""

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from mailserver.events.base import observe, stop_observing
from mailserver.events.messages import MessageAccepted
from mailserver.interfaces import IReactor


@implementer(ILogObserver)
class Arrivals:
    """Fires when messages may have come. It observes events only while somebody waits."""

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._waiting: set[Deferred[None]] = set()
        self.stopped = False

    def __call__(self, event: LogEvent) -> None:
        """An event. Any thread may report one."""
        if isinstance(event.get("log_event"), MessageAccepted):
            self._reactor.callFromThread(self._wake)

    def _wake(self) -> None:
        for waiting in tuple(self._waiting):
            if not waiting.called:
                waiting.callback(None)

    def stop(self) -> None:
        """The server stops: nobody waits any more."""
        self.stopped = True
        self._wake()

    async def wait(self, seconds: float) -> None:
        """Wait for a message, at most so many seconds."""
        waiting: Deferred[None] = Deferred()
        if not self._waiting:
            observe(self)
        self._waiting.add(waiting)
        timer = self._reactor.callLater(seconds, waiting.callback, None)
        try:
            await waiting
        finally:
            if timer.active():
                timer.cancel()
            self._waiting.discard(waiting)
            if not self._waiting:
                stop_observing(self)
