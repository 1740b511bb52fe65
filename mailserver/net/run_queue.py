"""Fair scheduling of work among all connections of a reactor.

Every connection works in slices. Octets that have just arrived get a slice at once. A connection with
more to do waits in one queue with the others, first in, first out. The queue works for :data:`TURN`
seconds at most; then the reactor looks at its sockets, and the queue goes on after that. So the wait of
a command depends on the number of busy connections, and not on how much each of them has sent.
"""

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

SLICE = 0.0005  # seconds that one connection works at a time
TURN = 0.01  # seconds of work between two looks at the sockets: for the queue, and again for new arrivals

# Works for a slice that begins at the given time of the reactor's clock; returns True if there is more to do.
Work = Callable[[float], bool]


class RunQueue:
    """Runs work in slices, in turns. Work must not raise."""

    __slots__ = ("_arrivals_end", "_reactor", "_scheduled", "_seconds", "_waiting")

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._seconds = reactor.seconds
        self._waiting: deque[Work] = deque()
        # While work waits: when new arrivals have had their time, until the next turn.
        self._arrivals_end = 0.0
        self._scheduled = False

    def run(self, work: Work) -> bool:
        """Give ``work`` a slice now, if there is time in this turn. True if (more of) it waits in the queue.

        Work that waits must not be passed in again.
        """
        now = self._seconds()
        if (not self._waiting or now < self._arrivals_end) and not work(now):
            return False
        self._waiting.append(work)
        if not self._scheduled:
            self._arrivals_end = now + TURN
            self._schedule()
        return True

    def _schedule(self) -> None:
        self._scheduled = True
        self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        began = now = self._seconds()
        while self._waiting and now - began < TURN:
            work = self._waiting.popleft()
            if work(now):
                self._waiting.append(work)
            now = self._seconds()
        self._scheduled = False
        # The sockets are next, and what arrives from them has a time of its own.
        if self._waiting:
            self._arrivals_end = now + TURN
            self._schedule()
