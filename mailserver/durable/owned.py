"""Checks the owner and the mode of files and folders."""

import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def foreign(path: Path, owner: int | None = None) -> tuple[str, str] | None:
    """Describe the problem if another user owns the path or may change it, and give the command to fix it.

    ``owner`` is the id of the server's user, by default that of this process. None if there is no problem, or
    no such path. Raises ``OSError``.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    mode, quoted = stat.S_IMODE(status.st_mode), shlex.quote(str(path))
    owner = os.geteuid() if owner is None else owner
    if status.st_uid != owner:
        own = user(owner)
        wrong = f"belongs to {user(status.st_uid)}, not to the server's user {own}"
        return wrong, f"chown -R {own} {quoted}"
    if mode & _OTHERS_WRITE:
        return f"can be changed by other users, its mode is {mode:04o}", f"chmod go-w {quoted}"
    return None


def to_hide(path: Path) -> str:
    """The commands that let only the server's user and its group read a file.

    Raises ``OSError``.
    """
    quoted = shlex.quote(str(path))
    if os.geteuid() in (0, path.stat().st_uid):
        return f"chmod o-rwx {quoted}"
    return f"chgrp {group(os.getegid())} {quoted}; chmod 640 {quoted}"


def user(uid: int) -> str:
    """The name of a user, or the number if there is no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group(gid: int) -> str:
    """The name of a group, or the number if there is no name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
