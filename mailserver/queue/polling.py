"""Looks for messages in a queue that several servers share: those of a server that has ended, and those that
another server has deferred."""

import time

from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred

from mailserver.interfaces import IReactor
from mailserver.queue.spool import Spool
from mailserver.queue.window import SIZE
from mailserver.threads.pool import run_in_thread

INTERVAL = 5.0  # seconds


class QueuePolling(TimerService):
    """Tells the runner of the spool of the destinations that are due."""

    def __init__(self, spool: Spool, reactor: IReactor) -> None:
        TimerService.__init__(self, INTERVAL, lambda: Deferred.fromCoroutine(self.look()))
        self.clock = reactor
        self._spool = spool
        self._reactor = reactor

    async def look(self) -> None:
        """Look once."""
        try:
            due = await run_in_thread(self._reactor, self._spool.due, SIZE)
        except OSError:
            return  # the connections to the database have reported it
        now = time.time()
        self._spool.waits([destination for destination, when in due if when <= now], now)
