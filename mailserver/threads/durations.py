"""Counts how long a kind of work takes, in buckets. One thread records; any thread may read."""

from bisect import bisect_left

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Durations:
    """``counts`` has the number of durations up to each of :data:`BOUNDS`, and then of longer ones, each
    without the ones before. ``total`` is the sum in seconds, ``longest`` the longest duration since the last
    call of :meth:`take_longest`."""

    __slots__ = ("counts", "longest", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = self.longest = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds

    def take_longest(self) -> float:
        """The longest duration since the last call, in seconds; 0.0 without one."""
        longest, self.longest = self.longest, 0.0
        return longest
