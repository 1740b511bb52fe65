"""Runs the same work only once while it is requested several times."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class _Flight(Generic[T]):
    """Running work, and the results that wait for it."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[T]] = []
        self.work: Deferred[T] | None = None


class SingleFlight(Generic[T]):
    """Work by key. A request for work that is already running gets the result of that run."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def join(self, key: Hashable, begin: Callable[[], Deferred[T]]) -> Deferred[T]:
        """The result of the work that ``begin`` starts, or that is already running.

        The work is cancelled once all its requests are.
        """
        flight = self._flights.get(key)
        if flight is not None:
            return self._wait(key, flight)
        flight = self._flights[key] = _Flight[T]()
        result = self._wait(key, flight)
        flight.work = begin()
        flight.work.addBoth(self._land, key, flight)
        return result

    def _wait(self, key: Hashable, flight: _Flight[T]) -> Deferred[T]:
        result = Deferred[T](partial(self._leave, key, flight))
        flight.waiting.append(result)
        return result

    def _leave(self, key: Hashable, flight: _Flight[T], result: Deferred[T]) -> None:
        flight.waiting.remove(result)
        if not flight.waiting:
            del self._flights[key]
            assert flight.work is not None
            flight.work.cancel()

    def _land(self, value: Any, key: Hashable, flight: _Flight[T]) -> None:
        if not flight.waiting:
            return  # all requests were cancelled, and the key is gone
        del self._flights[key]
        waiting, flight.waiting = flight.waiting, []
        for result in waiting:
            result.callback(value)
