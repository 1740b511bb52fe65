"""A new file that is written from its start to its end, in pieces."""

import os
from pathlib import Path

from mailserver.durable.calls import SystemCalls
from mailserver.durable.disk import FILE_MODE

BUFFER = 64 * 1024  # octets


class AppendedFile:
    """Creates the file ``path``. All methods raise ``OSError``. The caller syncs the folder."""

    __slots__ = ("_buffer", "_calls", "_descriptor")

    def __init__(self, path: Path, calls: SystemCalls) -> None:
        self._calls = calls
        self._buffer = bytearray()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._descriptor: int | None = calls.open(path, flags, FILE_MODE)

    def write(self, data: bytes) -> None:
        """Append octets. A killed process loses up to :data:`BUFFER` of them."""
        self._buffer += data
        if len(self._buffer) >= BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write all octets, so that readers see them."""
        assert self._descriptor is not None
        with memoryview(bytes(self._buffer)) as view:
            rest = view
            while rest:
                rest = rest[self._calls.write(self._descriptor, rest) :]
        self._buffer.clear()

    def sync(self) -> None:
        """Write and sync all octets."""
        self.flush()
        assert self._descriptor is not None
        self._calls.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file. May be called more than once."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._calls.close(descriptor)
