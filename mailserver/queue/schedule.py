"""The retry schedule, and a clock that does not jump."""

from collections.abc import Callable
from math import inf

import attrs
from twisted.internet.interfaces import IReactorTime

EXPIRED = "queue.expire_after"  # the key that ends the schedule


@attrs.frozen
class Schedule:
    """The times between attempts, in seconds; the last one repeats until ``expire_after``.

    The sender gets a delay notification after ``warn_after``.
    """

    retry: tuple[float, ...]
    expire_after: float
    warn_after: float = inf

    def age(self, attempts: int) -> float:
        """The scheduled time from the first of so many failed attempts to the last one."""
        listed = self.retry[: attempts - 1]
        return sum(listed) + self.retry[-1] * (attempts - 1 - len(listed))

    def before(self, attempt: int) -> float:
        """The time between the failed ``attempt``, counted from 1, and the next one."""
        return self.retry[min(attempt, len(self.retry)) - 1]

    def is_over(self, attempts: int) -> bool:
        """Whether the schedule ends after so many failed attempts."""
        return self.age(attempts) >= self.expire_after

    def is_late(self, attempts: int) -> bool:
        """Whether the sender gets a delay notification after so many failed attempts."""
        return self.age(attempts) >= self.warn_after

    @property
    def longest(self) -> float:
        """The longest time between two attempts."""
        return max(self.retry)


@attrs.frozen
class Concurrency:
    """The number of attempts at a time, in all and for one destination on another server."""

    attempts: int = 1000
    per_destination: int = 20


def steady(now: Callable[[], float], reactor: IReactorTime) -> Callable[[], float]:
    """A clock that starts with the current value of ``now`` and then follows the reactor's time."""
    began = now() - reactor.seconds()
    return lambda: began + reactor.seconds()
