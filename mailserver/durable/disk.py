"""Durable changes of single files and folders; ``group`` syncs many at a time.

The methods keep no state, so any thread may call them. Folders have mode 0700, files 0600, less the bits of
the umask. All methods raise ``OSError``.
"""

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from mailserver.durable.calls import StrPath, SystemCalls

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class Disk:
    """Changes the disk through ``calls``."""

    __slots__ = ("calls",)

    def __init__(self, calls: SystemCalls | None = None) -> None:
        self.calls = calls or SystemCalls()

    def make_dirs(self, *paths: Path, below: Path | None = None) -> None:
        """Create missing folders and their missing parents. Sync the parent of each.

        ``below`` is an existing, synced folder. With it, the parents of *all* folders between it and a path
        are synced, also those of existing ones. A process that was killed before it synced the parent of a
        new folder leaves a folder that a power failure would remove.
        """
        parents = {}
        for path in paths:
            for folder in _unsafe(path, below):
                try:
                    self.calls.mkdir(folder, FOLDER_MODE)
                except FileExistsError:
                    if not folder.is_dir():
                        raise
                parents[folder.parent] = True
        for parent in parents:
            self.sync_dir(parent)

    def write_file(self, path: StrPath, chunks: Iterable[bytes], *, sync: bool = True) -> None:
        """Create a file with this content and sync it. The caller syncs the folder.

        Raises ``FileExistsError`` if the name exists, also as a symbolic link. After any other error,
        including errors of ``chunks``, there is no file.
        """
        descriptor = self.calls.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
        try:
            try:
                for chunk in chunks:
                    self._write(descriptor, chunk)
                if sync:
                    self.calls.fsync(descriptor)
            finally:
                self.calls.close(descriptor)
        except BaseException:
            # Raise the first error, also if the file cannot be removed.
            with contextlib.suppress(OSError):
                self.calls.unlink(path)
            raise

    def _write(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.calls.write(descriptor, rest) :]

    def set_time(self, path: StrPath, when: float) -> None:
        """Set the time of the last change, in seconds since the epoch. The caller syncs the file."""
        self.calls.utime(path, when)

    def rename(self, source: StrPath, target: StrPath) -> None:
        """Rename within a file system. The caller syncs the folders."""
        self.calls.rename(source, target)

    def link(self, source: StrPath, target: StrPath) -> None:
        """Give a file a second name. The caller syncs the folder.

        Raises ``FileExistsError`` if the name exists.
        """
        self.calls.link(source, target)

    def remove(self, path: StrPath) -> None:
        """Remove a file. The caller syncs the folder."""
        self.calls.unlink(path)

    def remove_dir(self, path: StrPath) -> None:
        """Remove an empty folder. The caller syncs the folder above it."""
        self.calls.rmdir(path)

    def sync_dir(self, path: StrPath) -> None:
        """Sync the entries of a folder."""
        descriptor = self.calls.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.calls.fsync(descriptor)
        finally:
            self.calls.close(descriptor)

    def sync_file(self, path: StrPath) -> None:
        """Sync a file that was written before. The caller syncs the folder."""
        descriptor = self.calls.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            self.calls.fsync(descriptor)
        finally:
            self.calls.close(descriptor)

    def replace(self, path: Path, content: bytes) -> None:
        """Replace a file by one with this content, atomically and durably.

        Readers see either the old content or the new one.
        """
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        self.write_file(temporary, [content])
        try:
            self.calls.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.calls.unlink(temporary)
            raise
        self.sync_dir(path.parent)


def _unsafe(path: Path, below: Path | None) -> list[Path]:
    """The folders down to ``path`` whose entries in their parents may not be on the disk yet."""
    upwards = [path, *path.parents]
    if below is not None:
        return upwards[upwards.index(below) - 1 :: -1] if path != below else []
    return [folder for folder in reversed(upwards) if not folder.is_dir()]
