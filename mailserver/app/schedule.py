"""The times and the number of attempts to deliver, from the section [queue]."""

from collections.abc import Callable

from mailserver.config.keys.top_level import Config
from mailserver.queue.schedule import Concurrency, Schedule


class CurrentSchedule:
    """Returns the schedule in force when it is called."""

    def __init__(self, config: Config) -> None:
        self._commit(config)

    def __call__(self) -> Schedule:
        return self._schedule

    def concurrency(self) -> Concurrency:
        """The number of attempts at a time."""
        return self._concurrency

    def first(self) -> float:
        """The seconds from the first attempt to the second."""
        return self._schedule.before(1)

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return lambda: self._commit(config)

    def _commit(self, config: Config) -> None:
        self._schedule = Schedule(config.queue.retry, config.queue.expire_after, config.queue.warn_after)
        self._concurrency = Concurrency(config.queue.connections, config.queue.connections_per_destination)
