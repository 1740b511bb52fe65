"""Appends to files that are rotated by day and size.

Nothing is synced: a crash of the machine may lose the end. The files are named by the day (UTC) and a number,
such as ``2026-11-30.001``, so that their names sort by age.
"""

import contextlib
import os
import re
import time
from pathlib import Path

from mailserver.durable.disk import FILE_MODE, Disk

MAX_FILE = 16 * 1024 * 1024  # octets
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.(\d{3,})")
_DAY = 86400  # seconds


class RotatedFiles:
    """The files in ``folder``, at most ``max_octets`` in all and from the last ``days`` days.

    For one thread at a time. The methods block, and raise ``OSError``.
    """

    def __init__(
        self, folder: Path, disk: Disk, *, days: int, max_octets: int, max_file: int = MAX_FILE
    ) -> None:
        self._folder = folder
        self._disk = disk
        self._days = days
        self._max_octets = max_octets
        self._max_file = min(max_file, max_octets // 4)
        self._path: Path | None = None

    def append(self, data: bytes, now: float) -> None:
        """Add whole lines to the newest file. ``now`` is in seconds since the epoch."""
        path = self._current(_date(now))
        if path != self._path:
            self._path = path
            self._remove_old(_date(now - self._days * _DAY))
            # A killed process may have left half a line.
            data = b"\n" + data if path.exists() else data
        calls = self._disk.calls
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = calls.open(path, flags, FILE_MODE)
        try:
            view = memoryview(data)
            while view:
                view = view[calls.write(descriptor, view) :]
        finally:
            calls.close(descriptor)

    def _current(self, day: str) -> Path:
        """The file for the next lines."""
        newest = max(paths(self._folder), default=None)
        if newest is None:
            self._disk.make_dirs(self._folder, below=self._folder.parent)
            return self._folder / f"{day}.000"
        match = _NAME.fullmatch(newest.name)
        assert match is not None
        if match[1] >= day and newest.stat().st_size < self._max_file:
            return newest
        # If the clock has gone back, the names still sort by age.
        number = int(match[2]) + 1 if match[1] >= day else 0
        return self._folder / f"{max(match[1], day)}.{number:03}"

    def _remove_old(self, first_day: str) -> None:
        """Remove files other than the newest."""
        total = self._max_file  # the newest may grow
        for path in sorted(paths(self._folder), reverse=True):
            if path == self._path:
                continue
            total += path.stat().st_size
            if path.name < first_day or total > self._max_octets:
                with contextlib.suppress(FileNotFoundError):
                    self._disk.remove(path)


def paths(folder: Path) -> list[Path]:
    """The files in a folder, in no order."""
    try:
        return [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return []


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
