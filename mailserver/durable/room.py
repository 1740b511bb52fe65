"""The free space of a disk, and the reserve that new mail must leave free."""

import errno
import os
from pathlib import Path


def room(path: Path | str, reserve: int) -> int:
    """The octets that may be written to the file system of ``path``; negative if the reserve is touched.

    Raises ``OSError``.
    """
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize - reserve


def require_room(path: Path | str, reserve: int) -> None:
    """Raise ``OSError`` (ENOSPC) if only the reserve is free."""
    if reserve and room(path, reserve) <= 0:
        raise OSError(errno.ENOSPC, "no space left, except for the reserve", str(path))
