"""The free space of a disk, and the part of it that new mail leaves alone."""

import errno
import os
from pathlib import Path


def room(path: Path | str, reserve: int) -> int:
    """How many octets may be written to the file system of ``path``; below 0 if the reserve is touched.

    Raises ``OSError``.
    """
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize - reserve


def require_room(path: Path | str, reserve: int) -> None:
    """Raise ``OSError`` (ENOSPC) if there is no room but the reserve."""
    if reserve and room(path, reserve) <= 0:
        raise OSError(errno.ENOSPC, "no space left but the reserve", str(path))
