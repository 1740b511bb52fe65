"""The files of unix sockets: stale ones of killed servers are removed, those in use stay.

A socket without a listening process refuses connections (ECONNREFUSED, unix(7)). This is more reliable than
a lock file with a pid: another process may have that pid by now, and in a container it always has.
"""

import contextlib
import os
import socket
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import tcp
from twisted.python.failure import Failure

# Seconds between bind and listen of a starting server, at most.
_BOUND_ALONE = 0.1


def remove_stale(path: Path, remove: Callable[[Path], object]) -> bool:
    """Remove the socket of a killed server, and the lock file of an older version.

    Returns whether there was one. A socket in use and a file of another kind stay. Blocks for 0.1 seconds.
    """
    lock = path.with_name(f"{path.name}.lock")
    # Twisted's lock file is a link to a number.
    has_lock = lock.is_symlink() and str(lock.readlink()).isdecimal()
    found = [path] * path.is_socket() + [lock] * has_lock
    if not found or _is_in_use(path):
        return False
    time.sleep(_BOUND_ALONE)
    if _is_in_use(path):
        return False
    for file in found:
        with contextlib.suppress(FileNotFoundError):
            remove(file)
    return True


def _is_in_use(path: Path) -> bool:
    """Whether the file must stay: a process may listen on it, or it is not a socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return True
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            probe.connect(os.fspath(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError:
        # A full queue, for example (EAGAIN).
        return True
    return True


class SocketFile:
    """The file of the socket of a ``port``. This class removes it in place of the port of Twisted.

    That port would fail if another program has removed the file, or if the server lacks the permission.
    """

    def __init__(self, port: Any, path: Path, remove: Callable[[Path], object]) -> None:
        self._path = path
        self._remove = remove
        self._identity = _identity(path)
        port.connectionLost = partial(_connection_lost, port)

    def remove(self) -> None:
        """Remove the file, unless another file has taken its place."""
        # A file that cannot be removed is stale at the next start.
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._remove(self._path)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _connection_lost(port: Any, reason: Failure) -> None:
    if port.lockFile is not None:
        with contextlib.suppress(OSError):
            port.lockFile.unlock()
    tcp.Port.connectionLost(port, reason)
