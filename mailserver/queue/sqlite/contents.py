"""The contents of waiting messages: one file each, synced before its row is committed.

A crash may leave a file without a row: before the row is committed, or after the row is deleted and before
the file is removed. The sweep removes such files.
"""

import contextlib
import os
import threading
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
from mailserver.queue.sql.values import NAME, ISeparateContent, ISeparateContents

CONTENTS = "contents"  # the folder, beside the database
PIECE = 64 * 1024  # octets


@implementer(ISeparateContent)
@attrs.frozen
class FileContent:
    """The content of a file, with its expected size and checksum (CRC-32)."""

    path: str
    size: int
    checksum: int

    def chunks(self) -> Iterator[bytes]:
        """See :meth:`~mailserver.interfaces.IContent.chunks`. Raises ``OSError``, and
        :class:`~mailserver.errors.MessageDamaged` if the file is missing or has other octets."""
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
            raise MessageDamaged(f"{self.path} does not match its checksum")

    def problem(self) -> str:
        """What is wrong with the file, "" if nothing; does not read it."""
        try:
            size = os.lstat(self.path).st_size
        except FileNotFoundError:
            return "content is missing"
        return "" if size == self.size else f"content has {size} octets"


@implementer(ISeparateContents)
class Contents:
    """The content files in ``folder``. For any thread."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder = folder
        self._disk = disk
        self._lock = threading.Lock()
        self._held: list[str] | None = None

    def write(self, name: str, content: IContent, *, sync: bool = True) -> FileContent:
        """Copy a content and ``sync`` the file, but not its name. Raises ``OSError``."""
        path = f"{self.folder}/{name}"
        octets = checksum = 0

        def counted() -> Generator[bytes, None, None]:
            nonlocal octets, checksum
            for chunk in content.chunks():
                octets += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
                yield chunk

        with contextlib.closing(counted()) as chunks:
            self._disk.write_file(path, chunks, sync=sync)
        return FileContent(path, octets, checksum)

    def sync(self) -> None:
        """Make the names of the files durable. Raises ``OSError``."""
        self._disk.sync_dir(self.folder)

    def read(self, name: str, octets: int, checksum: int) -> FileContent:
        """The content in the file of this name."""
        return FileContent(f"{self.folder}/{name}", octets, checksum)

    def hold(self) -> None:
        """Remove no file before :meth:`release`. If the process ends before, the sweep removes them."""
        with self._lock:
            self._held = self._held or []

    def release(self) -> None:
        """Remove the files that were to be removed since :meth:`hold`. May be called more than once."""
        with self._lock:
            held, self._held = self._held or [], None
        for name in held:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a file. If that fails, the sweep removes it later."""
        with self._lock:
            if self._held is not None:
                self._held.append(name)
                return
        try:
            self._disk.remove(f"{self.folder}/{name}")
        except FileNotFoundError:
            return
        except OSError as error:
            report(ContentNotRemoved(path=f"{self.folder}/{name}", error=error))

    def names(self) -> Iterator[tuple[int, str]]:
        """The files, each with the number of the row that may refer to it. Raises ``OSError``."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as found:
            for entry in found:
                if name := NAME.fullmatch(entry.name):
                    yield int(name[1]), entry.name
