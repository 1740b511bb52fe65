"""When attempts are made: the schedule, and a clock that nobody sets."""

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime


@attrs.frozen
class Schedule:
    """The times between attempts, in seconds; the last one repeats until ``expire_after``."""

    retry: tuple[float, ...]
    expire_after: float

    def before(self, attempt: int) -> float:
        """The time between an attempt that failed, counted from 1, and the next."""
        return self.retry[min(attempt, len(self.retry)) - 1]

    def is_over(self, attempts: int) -> bool:
        """Whether so many failed attempts are enough."""
        listed = self.retry[: attempts - 1]
        return sum(listed) + self.retry[-1] * (attempts - 1 - len(listed)) >= self.expire_after

    @property
    def longest(self) -> float:
        """The longest time between two attempts."""
        return max(self.retry)


def steady(now: Callable[[], float], reactor: IReactorTime) -> Callable[[], float]:
    """A clock that shows what ``now`` says at this moment, and then follows the reactor's time."""
    began = now() - reactor.seconds()
    return lambda: began + reactor.seconds()
