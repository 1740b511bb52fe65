"""The part of the queue that is in memory: the destinations that are due first.

The spool may have messages for millions of destinations. The window has all destinations that are due before
the *horizon*. When the horizon is reached and no destination in the window is due, more are read from the
spool. Times are seconds since the epoch.
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf

SIZE = 1000  # destinations that are read at a time


class QueueWindow:
    """The planned destinations, at most a few times ``size``. For the reactor's thread."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        # A heap of due times and destinations. It may have outdated times; ``_times`` has the right ones.
        self._planned: list[tuple[float, str]] = []
        self._times: dict[str, float] = {}
        self._taken: set[str] = set()
        self._horizon = -inf
        self._limit = 0  # of the read in progress

    def plan(self, when: float, destination: str) -> None:
        """Plan a destination, unless it is beyond the horizon; then a later read finds it."""
        if when < self._horizon or self._limit:
            self.hold(when, destination)

    def hold(self, when: float, destination: str) -> None:
        """Plan a destination, also beyond the horizon or if the spool has another time.

        The earliest time counts. A destination that is taken is not planned.
        """
        if destination in self._taken or self._times.get(destination, inf) <= when:
            return
        self._times[destination] = when
        heappush(self._planned, (when, destination))
        if len(self._times) > 2 * self._size and not self._limit:
            planned = sorted((when, name) for name, when in self._times.items())
            self._horizon = min(self._horizon, planned[self._size][0])
            self._planned = planned[: self._size]
            self._times = {name: when for when, name in self._planned}

    def take(self, now: float) -> str | None:
        """Take a due destination, None if there is none. Call ``done`` when it can be planned again."""
        if self._first() > now:
            return None
        destination = heappop(self._planned)[1]
        del self._times[destination]
        self._taken.add(destination)
        return destination

    def _first(self) -> float:
        planned = self._planned
        while planned and self._times.get(planned[0][1]) != planned[0][0]:
            heappop(planned)
        return planned[0][0] if planned else inf

    def reserve(self, destination: str) -> None:
        """Take this destination, whenever it is due. Call ``done`` as after ``take``."""
        self._times.pop(destination, None)
        self._taken.add(destination)

    def is_taken(self, destination: str) -> bool:
        """Whether the destination is taken and not done."""
        return destination in self._taken

    def done(self, destination: str) -> None:
        """The destination may be planned again by ``plan`` or ``hold``."""
        self._taken.discard(destination)

    def next(self) -> float | None:
        """The time of the next destination or read, None if there is none."""
        first = self._first()
        at = min(first, self._horizon) if self._may_read else first
        return None if at == inf else at

    @property
    def _may_read(self) -> bool:
        return not self._limit and len(self._times) <= self._size

    def wants(self, now: float) -> int:
        """The number of destinations to read from the spool now, earliest first. Call ``read`` afterwards,
        unless it is 0."""
        if not self._may_read or self._horizon > now or self._first() <= now:
            return 0
        self._limit = self._size + len(self._times) + len(self._taken)
        return self._limit

    def read(self, due: Iterable[tuple[str, float]]) -> None:
        """Add the destinations read from the spool with their due times, earliest first."""
        limit, count = self._limit, 0
        for destination, when in due:
            count += 1
            self._horizon = when
            self.hold(when, destination)
        if count < limit:
            self._horizon = inf
        self._limit = 0

    def not_read(self, again: float) -> None:
        """The read has failed. Read again at this time."""
        self._horizon = again
        self._limit = 0

    def clear(self) -> None:
        """Forget all destinations and read no more."""
        self._planned.clear()
        self._times.clear()
        self._taken.clear()
        self._horizon = inf
        self._limit = 0
