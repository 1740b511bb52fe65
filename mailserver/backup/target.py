"""Where a backup goes: the part that a folder and a stream have in common."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from mailserver.backup.known import KnownFiles
from mailserver.backup.manifest import BackupOrigin, ManifestWriter
from mailserver.durable.copies import FileAttributes, open_regular


class SourceVanished(Exception):
    """A file was moved or removed before it was copied."""


class SourceUnreadable(Exception):
    """A file cannot be read; the text says why."""


class BackupTarget(ABC):
    """Takes files, and writes the manifest. All methods may block, and raise ``OSError`` if the target fails.

    ``scratch`` is a folder for temporary files. ``fresh`` counts the files whose octets were written or read,
    ``fresh_octets`` their octets.
    """

    scratch: Path

    def __init__(self, origin: BackupOrigin, write: Callable[[bytes], object]) -> None:
        self.manifest = ManifestWriter(origin, write)
        self.fresh = self.fresh_octets = 0

    @abstractmethod
    def folder(self, path: str, attributes: FileAttributes) -> None:
        """Add a folder. The one above it must be there."""

    def file(self, path: str, source: str, *, fixed: bool = False) -> None:
        """Add a file. One that is ``fixed`` never changes, so that a link to it will do.

        Raises :class:`SourceVanished` and :class:`SourceUnreadable`.
        """
        try:
            descriptor = open_regular(source)
        except FileNotFoundError:
            raise SourceVanished from None
        except OSError as error:
            raise SourceUnreadable(f"{source}: {error.strerror}") from error
        try:
            size, sha256 = self._take(path, source, descriptor, fixed)
            self.manifest.file(path, FileAttributes.of(os.fstat(descriptor)), size, sha256)
        finally:
            os.close(descriptor)

    @abstractmethod
    def _take(self, path: str, source: str, descriptor: int, fixed: bool) -> tuple[int, str]:
        """Take an open file. Returns its octets and its checksum."""

    @abstractmethod
    def written(self) -> KnownFiles:
        """The files that were added so far."""

    @abstractmethod
    def complete(self) -> None:
        """Sync everything, and complete the manifest: the backup exists from now on."""

    @abstractmethod
    def close(self) -> None:
        """Release all resources. What is incomplete stays incomplete."""

    def __enter__(self) -> "BackupTarget":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
