"""A nameless temporary file for content too large to keep in memory.

It has no name on any usual file system, so a crash leaves nothing behind. It is not synced: it holds
nothing that has been promised to anybody.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

PIECE = 65536  # octets


class Spill:
    """Octets, appended in order, read again from the start. Not to be read while it is written."""

    __slots__ = ("_check_room", "_descriptor", "_file")

    def __init__(self, folder: Path, check_room: Callable[[], None] = lambda: None) -> None:
        """Make the file in ``folder``. ``check_room`` raises ``OSError`` when the disk is too full."""
        self._check_room = check_room
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - as long as this
        self._descriptor = self._file.fileno()

    def append(self, data: bytes) -> None:
        """Write at the end. Raises ``OSError``."""
        self._check_room()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def chunks(self) -> Iterator[bytes]:
        """The octets in pieces; several readers do not disturb each other."""
        offset = 0
        while piece := os.pread(self._descriptor, PIECE, offset):
            yield piece
            offset += len(piece)

    def close(self) -> None:
        """Let go of the file and of its space."""
        self._file.close()
