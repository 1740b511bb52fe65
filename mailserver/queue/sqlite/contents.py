"""The contents of messages that wait: a file for each, synced before the row that refers to it is committed.

A file without a row is what a crash leaves between the two, or between the end of a row and the removal of
its file. The sweep removes it.
"""

import contextlib
import os
import re
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

import attrs
from zope.interface import implementer

from mailserver.durable.disk import Disk
from mailserver.errors import MessageDamaged
from mailserver.events.base import report
from mailserver.events.queue import ContentNotRemoved
from mailserver.interfaces import IContent

CONTENTS = "contents"  # the folder, beside the database
PIECE = 64 * 1024  # octets
NAME = re.compile(r"(?!\.)[!-.0-~]{1,200}\.([0-9]{1,18})")


@implementer(IContent)
@attrs.frozen
class FileContent:
    """The octets of a file, which must have this size and this checksum (CRC-32)."""

    path: str
    size: int
    checksum: int

    def chunks(self) -> Iterator[bytes]:
        """See :meth:`~mailserver.interfaces.IContent.chunks`. Raises ``OSError``, and
        :class:`~mailserver.errors.MessageDamaged` if the octets turn out to be others, or are missing."""
        octets = checksum = 0
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise MessageDamaged(f"{self.path} is missing") from error
        try:
            while chunk := os.read(descriptor, PIECE):
                octets += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
                yield chunk
        finally:
            os.close(descriptor)
        if (octets, checksum) != (self.size, self.checksum):
            raise MessageDamaged(f"{self.path} does not have its checksum")

    def problem(self) -> str:
        """What is wrong with the file as far as that is seen without reading it; "" if nothing is."""
        try:
            size = os.lstat(self.path).st_size
        except FileNotFoundError:
            return "content is missing"
        return "" if size == self.size else f"content has {size} octets"


class Contents:
    """Files in ``folder``. For any thread."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder = folder
        self._disk = disk

    def write(self, name: str, content: IContent) -> FileContent:
        """Copy a content and sync the file, but not its name. Raises ``OSError``."""
        path = f"{self.folder}/{name}"
        octets = checksum = 0

        def counted() -> Generator[bytes, None, None]:
            nonlocal octets, checksum
            for chunk in content.chunks():
                octets += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
                yield chunk

        with contextlib.closing(counted()) as chunks:
            self._disk.write_file(path, chunks)
        return FileContent(path, octets, checksum)

    def sync(self) -> None:
        """Make the names of the files durable. Raises ``OSError``."""
        self._disk.sync_dir(self.folder)

    def read(self, name: str, octets: int, checksum: int) -> FileContent:
        """The content of this name."""
        return FileContent(f"{self.folder}/{name}", octets, checksum)

    def remove(self, name: str) -> None:
        """Remove a file; where that fails it is left to the sweep."""
        try:
            self._disk.remove(f"{self.folder}/{name}")
        except FileNotFoundError:
            return
        except OSError as error:
            report(ContentNotRemoved(path=f"{self.folder}/{name}", error=error))

    def names(self) -> Iterator[tuple[int, str]]:
        """The files, by the number of the row that may refer to each. Raises ``OSError``."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as found:
            for entry in found:
                if name := NAME.fullmatch(entry.name):
                    yield int(name[1]), entry.name


def name_of(id: str, seq: int) -> str:
    """The file of a message: the numbers of rows are used again after a while, with the id it is unique."""
    return f"{id}.{seq}"
