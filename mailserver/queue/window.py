"""The part of the queue that is in memory: the messages that are due first.

The spool may have millions of messages. The window has all that are due before the *horizon*. When the
horizon is reached and no message in the window is due, more are read from the spool. Times are seconds since
the epoch.
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf

SIZE = 1000  # messages that are read at a time


class QueueWindow:
    """The planned attempts, at most a few times ``size``. For the reactor's thread."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._planned: list[tuple[float, int]] = []  # a heap: due time and number of a message
        self._known: set[int] = set()  # planned, or being tried
        self._horizon = -inf
        self._limit = 0  # of the read in progress

    def plan(self, when: float, seq: int) -> None:
        """Plan an attempt, unless it is beyond the horizon; then a later read finds it."""
        if when < self._horizon or self._limit:
            self.hold(when, seq)

    def hold(self, when: float, seq: int) -> None:
        """Plan an attempt, also beyond the horizon or if the spool has another time."""
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
        """Take a due message, None if there is none. Call ``done`` after the attempt."""
        return heappop(self._planned)[1] if self._planned and self._planned[0][0] <= now else None

    def done(self, seq: int) -> None:
        """The attempt has ended. ``plan`` or ``hold`` may follow."""
        self._known.discard(seq)

    def next(self) -> float | None:
        """The time of the next attempt or read, None if there is none."""
        first = self._planned[0][0] if self._planned else inf
        at = min(first, self._horizon) if self._may_read else first
        return None if at == inf else at

    @property
    def _may_read(self) -> bool:
        return not self._limit and len(self._planned) <= self._size

    def wants(self, now: float) -> int:
        """The number of messages to read from the spool now, earliest first. Call ``read`` afterwards, unless
        it is 0."""
        if not self._may_read or self._horizon > now or (self._planned and self._planned[0][0] <= now):
            return 0
        self._limit = self._size + len(self._known)
        return self._limit

    def read(self, due: Iterable[tuple[int, float]]) -> None:
        """Add the messages read from the spool: numbers and due times, earliest first."""
        limit, count = self._limit, 0
        for seq, when in due:
            count += 1
            self._horizon = when
            self.hold(when, seq)
        if count < limit:
            self._horizon = inf
        self._limit = 0

    def not_read(self, again: float) -> None:
        """The read has failed. Read again at this time."""
        self._horizon = again
        self._limit = 0

    def clear(self) -> None:
        """Forget all messages and read no more."""
        self._planned.clear()
        self._known.clear()
        self._horizon = inf
        self._limit = 0
