"""Whose a file or folder is, and who else may change it."""

import os
import pwd
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def foreign(path: Path) -> tuple[str, str] | None:
    """What is wrong if another user owns the path or may change it, and the command that mends it.

    None if nothing is wrong, or nothing is there. Raises ``OSError``.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        own = user(os.geteuid())
        return f"belongs to {user(status.st_uid)}, not to the server's user {own}", f"chown -R {own} {path}"
    if mode & _OTHERS_WRITE:
        return f"can be changed by other users, its mode is {mode:04o}", f"chmod go-w {path}"
    return None


def user(uid: int) -> str:
    """The name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
