"""Remembers results that depend on DNS, each as long as the answers behind it are valid."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")

CAPACITY = 1000  # results


class ResultCache(Generic[_Result]):
    """Results by key. The results that were not used for the longest time make room for new ones.

    A key has all that the result depends on beside DNS. Clients choose what is in the keys, so their length
    must be limited.
    """

    def __init__(self, seconds: Callable[[], float], capacity: int = CAPACITY) -> None:
        """``seconds`` is a clock that does not go backwards."""
        self._seconds = seconds
        self._capacity = capacity
        self._entries: OrderedDict[Hashable, tuple[float, _Result]] = OrderedDict()

    def get(self, key: Hashable) -> _Result | None:
        """The result; None if it is unknown or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, result = entry
        if expires <= self._seconds():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return result

    def put(self, key: Hashable, result: _Result, ttl: float) -> None:
        """Keep a result for ``ttl`` seconds."""
        if ttl <= 0:
            return
        self._entries[key] = self._seconds() + ttl, result
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
