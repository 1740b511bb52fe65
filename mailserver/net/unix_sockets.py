"""The files of unix sockets: those of killed servers are removed, those in use are left alone.

A socket that nobody listens on refuses connections (ECONNREFUSED, unix(7)). That says more than a lock file
with the pid of its server: another process may have that pid by now, as pid 1 of a container has always.
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

# Seconds for which a server may have bound a socket that it does not listen on yet.
_BOUND_ALONE = 0.1


def remove_stale(path: Path, remove: Callable[[Path], object]) -> bool:
    """Remove the socket of a killed server, and the lock file that an older version left beside it.

    Returns whether there was any. Leaves a socket in use and a file of another kind. Blocks for 0.1 seconds.
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
    """Whether the file must stay: somebody may listen on it, or it is no socket."""
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
    """The file of a socket that ``port`` has made; this removes it, instead of Twisted's port.

    That one would fail if another program had removed the file, or if the user that the server goes on as
    may not remove it.
    """

    def __init__(self, port: Any, path: Path, remove: Callable[[Path], object]) -> None:
        self._path = path
        self._remove = remove
        self._identity = _identity(path)
        port.connectionLost = partial(_connection_lost, port)

    def remove(self) -> None:
        """Remove it if it is still there, and no other."""
        # Where it has to stay, the next start finds it stale.
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
