"""The password for the login at the smarthost, from its file."""

import os
import stat
from pathlib import Path

from mailserver.errors import StorageError

LONGEST = 4096  # octets
KEY = "relay.smarthost_password_file"


def read_password(path: Path) -> str:
    """The first line of the file. Blocks.

    Raises :class:`~mailserver.errors.StorageError` if the file cannot be read, or if other users can read it.
    No text contains the password.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            octets = os.read(descriptor, LONGEST) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{KEY}: cannot read {path}: {error.strerror}") from error
    if status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise StorageError(f"{KEY}: other users can read {path}; fix it with: chmod o-rwx {path}")
    line = octets.partition(b"\n")[0].removesuffix(b"\r")
    try:
        password = line.decode()
    except UnicodeDecodeError:
        password = ""
    if not password:
        raise StorageError(f"{KEY}: the first line of {path} is not a password")
    return password
