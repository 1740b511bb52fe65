"""The history of contacts for a server without a disk: it lives as long as the process."""

import threading
from collections.abc import Collection, Mapping

from zope.interface import implementer

from mailserver.accounts.interfaces import IHistoryEngine
from mailserver.mail.seen import Seen, SeenKey, SeenKind


@implementer(IHistoryEngine)
class MemoryHistory:
    """A dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[SeenKey, Seen] = {}

    def close(self) -> None:
        """See :class:`IHistoryEngine`."""

    def find(self, keys: Collection[SeenKey]) -> Mapping[SeenKey, Seen]:
        """See :class:`IHistoryEngine`."""
        with self._lock:
            return {key: self._entries[key] for key in keys if key in self._entries}

    def put(self, entries: Mapping[SeenKey, Seen]) -> None:
        """See :class:`IHistoryEngine`."""
        with self._lock:
            self._entries.update(entries)

    def trim(self, kind: SeenKind, before: float, most: int) -> None:
        """See :class:`IHistoryEngine`."""
        with self._lock:
            own = sorted((-seen.last, key) for key, seen in self._entries.items() if key[0] == kind)
            for number, (last, key) in enumerate(own):
                if -last < before or number >= most:
                    del self._entries[key]
