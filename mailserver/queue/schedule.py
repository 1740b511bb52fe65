"""The retry schedule, and a clock that does not jump."""

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime


@attrs.frozen
class Schedule:
    """The times between attempts, in seconds; the last one repeats until ``expire_after``."""

    retry: tuple[float, ...]
    expire_after: float

    def before(self, attempt: int) -> float:
        """The time between the failed ``attempt``, counted from 1, and the next one."""
        return self.retry[min(attempt, len(self.retry)) - 1]

    def is_over(self, attempts: int) -> bool:
        """Whether the schedule ends after so many failed attempts."""
        listed = self.retry[: attempts - 1]
        return sum(listed) + self.retry[-1] * (attempts - 1 - len(listed)) >= self.expire_after

    @property
    def longest(self) -> float:
        """The longest time between two attempts."""
        return max(self.retry)


def steady(now: Callable[[], float], reactor: IReactorTime) -> Callable[[], float]:
    """A clock that starts with the current value of ``now`` and then follows the reactor's time."""
    began = now() - reactor.seconds()
    return lambda: began + reactor.seconds()
