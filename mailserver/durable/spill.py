"""A nameless temporary file for content that is too large for memory.

The file has no name, so a crash leaves nothing behind. It is not synced, because its messages are not
accepted yet.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

PIECE = 65536  # octets


class Spill:
    """Octets that are appended in order and then read from the start. Do not read while writing.

    ``file`` is the open file.
    """

    __slots__ = ("_check_room", "_descriptor", "file")

    def __init__(self, folder: Path, check_room: Callable[[], None] = lambda: None) -> None:
        """Create the file in ``folder``. ``check_room`` raises ``OSError`` if the disk is too full."""
        self._check_room = check_room
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close()
        self._descriptor = self.file.fileno()

    def append(self, data: bytes) -> None:
        """Append octets. Raises ``OSError``."""
        self._check_room()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def chunks(self) -> Iterator[bytes]:
        """The octets in pieces. Several readers may read at a time."""
        offset = 0
        while piece := os.pread(self._descriptor, PIECE, offset):
            yield piece
            offset += len(piece)

    def close(self) -> None:
        """Close the file and free its space."""
        self.file.close()
