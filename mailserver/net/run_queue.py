"""Fair scheduling of work among all connections of a reactor.

Every connection works in slices. New input gets a slice at once. A connection with more work waits in a
queue, first in, first out. The queue runs for at most :data:`TURN` seconds; then the reactor polls its
sockets, and the queue continues. So the delay of a command depends on the number of busy connections, not on
their input.
"""

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

SLICE = 0.0005  # seconds that one connection works at a time
TURN = 0.01  # seconds of work between two polls of the sockets: for the queue, and again for new input

# Works for a slice that begins at the given time of the reactor's clock. Returns True if there is more work.
Work = Callable[[float], bool]


class RunQueue:
    """Runs work in slices, one connection after another. Work must not raise."""

    __slots__ = ("_arrivals_end", "_reactor", "_scheduled", "_seconds", "_waiting")

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._seconds = reactor.seconds
        self._waiting: deque[Work] = deque()
        # While work waits: the end of the time for new input, until the next turn.
        self._arrivals_end = 0.0
        self._scheduled = False

    def run(self, work: Work) -> bool:
        """Give ``work`` a slice now, if there is time in this turn. Returns True if it waits in the queue.

        Do not pass in waiting work again.
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
        # The sockets are next; their input has a time of its own.
        if self._waiting:
            self._arrivals_end = now + TURN
            self._schedule()
