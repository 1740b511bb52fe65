"""The part of the queue that is in memory: the messages that are due first.

There may be millions in the spool. Whatever is due before the *horizon* is in the window; when that time
has come, and nothing in the window is due, the spool is asked for more. Times are seconds since the epoch.
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf

SIZE = 1000  # messages that are read at a time


class QueueWindow:
    """Planned attempts, a few times ``size`` of them at most. For the reactor's thread."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._planned: list[tuple[float, int]] = []  # a heap: when, and the number of the message
        self._known: set[int] = set()  # planned, or tried just now
        self._horizon = -inf
        self._limit = 0  # of the reading that is under way

    def plan(self, when: float, seq: int) -> None:
        """A message is due then; beyond the horizon it is left to the spool."""
        if when < self._horizon or self._limit:
            self.hold(when, seq)

    def hold(self, when: float, seq: int) -> None:
        """A message is to be tried then, whatever the spool says."""
        if seq in self._known:
            return
        self._known.add(seq)
        heappush(self._planned, (when, seq))
        if len(self._planned) > 2 * self._size and not self._limit:
            self._planned.sort()
            self._horizon = min(self._horizon, self._planned[self._size][0])
            self._known.difference_update(seq for _, seq in self._planned[self._size :])
            del self._planned[self._size :]

    def take(self, now: float) -> int | None:
        """A message that is due; ``done`` follows."""
        return heappop(self._planned)[1] if self._planned and self._planned[0][0] <= now else None

    def done(self, seq: int) -> None:
        """The attempt is over; ``plan`` or ``hold`` may follow."""
        self._known.discard(seq)

    def next(self) -> float | None:
        """When something is to be done, if nothing changes."""
        first = self._planned[0][0] if self._planned else inf
        at = min(first, self._horizon) if self._may_read else first
        return None if at == inf else at

    @property
    def _may_read(self) -> bool:
        return not self._limit and len(self._planned) <= self._size

    def wants(self, now: float) -> int:
        """How many messages to read from the spool, earliest first; 0 for none now. ``read`` follows."""
        if not self._may_read or self._horizon > now or (self._planned and self._planned[0][0] <= now):
            return 0
        self._limit = self._size + len(self._known)
        return self._limit

    def read(self, due: Iterable[tuple[int, float]]) -> None:
        """What the spool has answered: numbers, and when they are due, earliest first."""
        limit, count = self._limit, 0
        for seq, when in due:
            count += 1
            self._horizon = when
            self.hold(when, seq)
        if count < limit:
            self._horizon = inf
        self._limit = 0

    def not_read(self, again: float) -> None:
        """The spool could not be read; it is asked again then."""
        self._horizon = again
        self._limit = 0

    def clear(self) -> None:
        """Forget everything, and ask for nothing."""
        self._planned.clear()
        self._known.clear()
        self._horizon = inf
        self._limit = 0
