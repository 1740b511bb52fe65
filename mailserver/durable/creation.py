"""Makes the files and folders of something new, all or nothing: a failure removes what was made.

Nothing that exists is changed, except that an empty folder may be used as it is.
"""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mailserver.durable.disk import FOLDER_MODE, Disk

Owner = tuple[int, int]
"""The numbers of a user and of a group."""


class Creation:
    """A context: an exception in it, also an interrupt, removes all that was made.

    All methods raise ``OSError``.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._made: list[Path] = []
        self._filled: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._remove_all()

    def folder(self, path: Path) -> bool:
        """Make a folder and its missing parents. An existing folder stays as it is; then returns False."""
        missing = [one for one in (path, *path.parents) if not one.is_dir()]
        for one in reversed(missing):
            self._disk.calls.mkdir(one, FOLDER_MODE)
            self._made.append(one)
            self._disk.sync_dir(one.parent)
        return bool(missing)

    def empty_folder(self, path: Path) -> None:
        """As :meth:`folder`. Raises ``FileExistsError`` if the folder exists with something in it."""
        if path.is_dir():
            if any(path.iterdir()):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            self._filled.append(path)
        self.folder(path)

    def file(self, path: Path, content: bytes) -> None:
        """Write a file. Raises ``FileExistsError`` if the name exists."""
        self._disk.write_file(path, [content])
        self._made.append(path)
        self._disk.sync_dir(path.parent)

    def give(self, path: Path, owner: Owner) -> None:
        """Give a file, or a folder with all that is in it, to a user and a group."""
        inside = path.rglob("*") if path.is_dir() else ()
        for one in (path, *inside):
            os.chown(one, *owner, follow_symlinks=False)

    def share(self, path: Path, group: int) -> None:
        """Let a group read a file or a folder."""
        os.chown(path, -1, group)
        path.chmod(0o750 if path.is_dir() else 0o640)

    def _remove_all(self) -> None:
        inside = [path for folder in self._filled for path in folder.iterdir()]
        for path in (*inside, *reversed(self._made)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):  # the first error is raised
                    path.unlink(missing_ok=True)
