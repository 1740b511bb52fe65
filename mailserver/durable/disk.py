"""Durable changes to files and folders: written, synced, or not there at all.

For one file at a time; ``group`` is for many together. No method here keeps state, so any thread
may call any of them. Folders are 0700; files are 0600, less what the umask takes away. Every method
raises ``OSError`` as the system gave it.
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
    """Everything that changes the disk goes through one of these."""

    __slots__ = ("calls",)

    def __init__(self, calls: SystemCalls | None = None) -> None:
        self.calls = calls or SystemCalls()

    def make_dirs(self, *paths: Path, below: Path | None = None) -> None:
        """Make folders, and those above them, as far as they are missing; sync the parent of each.

        ``below`` is a folder that exists and is safe. With it the parents of *every* folder
        between it and a path are synced, also of one that is there already: a process killed
        between making a folder and syncing its parent leaves one that a power cut would take away.
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
        """Create a file with this content and sync it; its folder is the caller's to sync.

        Raises ``FileExistsError`` if anything has that name, be it a symbolic link. Any other
        failure, also one that ``chunks`` raises, leaves no file.
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
            # The first failure is the one to tell; a file that cannot be removed either stays.
            with contextlib.suppress(OSError):
                self.calls.unlink(path)
            raise

    def _write(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.calls.write(descriptor, rest) :]

    def rename(self, source: StrPath, target: StrPath) -> None:
        """Rename within one file system; the folders are the caller's to sync."""
        self.calls.rename(source, target)

    def link(self, source: StrPath, target: StrPath) -> None:
        """Give a file a second name; its folder is the caller's to sync.

        Raises ``FileExistsError`` if anything has that name.
        """
        self.calls.link(source, target)

    def remove(self, path: StrPath) -> None:
        """Remove a file; its folder is the caller's to sync."""
        self.calls.unlink(path)

    def sync_dir(self, path: StrPath) -> None:
        """Make the entries of a folder safe."""
        descriptor = self.calls.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.calls.fsync(descriptor)
        finally:
            self.calls.close(descriptor)

    def sync_file(self, path: StrPath) -> None:
        """Make the content of a file safe that was written before; its folder is the caller's to sync."""
        descriptor = self.calls.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            self.calls.fsync(descriptor)
        finally:
            self.calls.close(descriptor)

    def replace(self, path: Path, content: bytes) -> None:
        """Put a file with this content in the place of whatever has that name, at once and safely.

        Who reads it meanwhile sees the old content or the new, whole.
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
    """The folders down to ``path`` whose entry in their parent may not be on the disk yet."""
    upwards = [path, *path.parents]
    if below is not None:
        return upwards[upwards.index(below) - 1 :: -1] if path != below else []
    return [folder for folder in reversed(upwards) if not folder.is_dir()]
