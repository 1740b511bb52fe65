"""The folder for damaged files. They are moved there, never deleted, each with a file that has the reason."""

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from mailserver.durable.disk import Disk

MAX_NAME = 180  # octets, so that the time and ".reason" fit into a file name
_UNSAFE = re.compile(rb"[\0-\x20/\x7f]")


class DamagedFolder:
    """Moves files to ``folder``, which is created with the first one."""

    __slots__ = ("_disk", "_folder")

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk

    def move(self, path: Path, name: str, reason: str) -> Path:
        """Move a file to the folder. Returns its new path. Raises ``OSError``."""
        target = self._place(name, reason)
        try:
            self._move(path, target)
        except BaseException:
            with contextlib.suppress(OSError):
                self._disk.remove(f"{target}.reason")
            raise
        self._disk.sync_dir(path.parent)
        self._disk.sync_dir(self._folder)
        return target

    def move_together(self, paths: Iterable[Path], name: str, reason: str) -> Path:
        """Move files and folders into a new folder, in this order, but for missing ones.

        Returns the path of the new folder. Raises ``OSError``.
        """
        target = self._place(name, reason)
        self._disk.make_dirs(target, below=self._folder)
        parents = {}
        for path in paths:
            if os.path.lexists(path):
                self._move(path, target / path.name)
                parents[path.parent] = True
        for folder in (target, *parents):
            self._disk.sync_dir(folder)
        return target

    def _move(self, path: Path, target: Path) -> None:
        try:
            self._disk.rename(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The folder of a domain may be another file system.
            with path.open("rb") as file:
                self._disk.write_file(target, iter(partial(file.read, 65536), b""))
            self._disk.sync_dir(self._folder)
            self._disk.remove(path)

    def keep(self, content: Iterable[bytes], name: str, reason: str) -> Path:
        """Write ``content`` to a new file in the folder. Returns its path. Raises ``OSError``."""
        target = self._place(name, reason)
        self._disk.write_file(target, content)
        self._disk.sync_dir(self._folder)
        return target

    def _place(self, name: str, reason: str) -> Path:
        """Find a free name, and write the reason beside it."""
        self._disk.make_dirs(self._folder, below=self._folder.parent)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        safe = os.fsdecode(_UNSAFE.sub(b"_", os.fsencode(name))[-MAX_NAME:])
        number = 0
        while True:
            target = self._folder / f"{stamp}.{number}.{safe}"
            with contextlib.suppress(FileExistsError):
                self._disk.write_file(
                    self._folder / f"{target.name}.reason", [f"{reason}\n".encode("utf-8", "surrogateescape")]
                )
                return target
            number += 1
