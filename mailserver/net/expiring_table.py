"""A table whose entries expire, and whose oldest entry is dropped when it is full.

So its size is bounded even if clients choose the keys: an IPv6 /48 has 65,536 networks. There is no timer:
each use of the table first drops the expired entries, in constant time for each one.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ExpiringTable(Generic[K, V]):
    """At most ``most`` entries, each for ``lifetime`` seconds after it was last put.

    ``lifetime`` may be changed at any time.
    """

    __slots__ = ("_entries", "_most", "_seconds", "lifetime")

    def __init__(self, most: int, lifetime: float, seconds: Callable[[], float]) -> None:
        """``seconds`` is a clock that does not go backwards."""
        self._most = most
        self._seconds = seconds
        self.lifetime = lifetime
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        self._forget()
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of ``key``; None if the key is unknown or its value has expired."""
        self._forget()
        entry = self._entries.get(key)
        return entry[1] if entry is not None else None

    def has(self, key: K) -> bool:
        """Whether there is an entry of ``key``."""
        self._forget()
        return key in self._entries

    def put(self, key: K, value: V) -> None:
        """Set the value of ``key``. Its lifetime begins now."""
        self._entries[key] = (self._seconds(), value)
        self._entries.move_to_end(key)
        self._forget()
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def drop(self, key: K) -> None:
        """Remove ``key``, if it is there."""
        self._entries.pop(key, None)

    def _forget(self) -> None:
        entries = self._entries
        if not entries:
            return
        before = self._seconds() - self.lifetime
        while entries and next(iter(entries.values()))[0] <= before:
            entries.popitem(last=False)
