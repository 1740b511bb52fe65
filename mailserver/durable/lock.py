"""The lock of the data directory, so that only one server uses it (flock(2)), and locks of names in it.

The kernel releases a lock when its process ends. Acquire that of the data directory after the process has
become a daemon, because the file has the id of the process.
"""

import fcntl
import os
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

from mailserver.durable.disk import FILE_MODE
from mailserver.errors import DataInUse


class DataLock:
    """A lock on the file ``path``, which is created if it is missing and never removed."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Acquire the lock. Raises :class:`~mailserver.errors.DataInUse` if another process holds it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, FILE_MODE)
        try:
            os.fchmod(descriptor, FILE_MODE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # The file is empty if the holder has not written its id yet.
                holder = os.read(descriptor, 64).decode("ascii", "replace").strip()
                raise DataInUse(
                    f"{self._path} is locked by another process ({holder or 'pid unknown'})"
                ) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"pid {os.getpid()}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """The descriptor of the lock, which a child may inherit: the lock lasts until all of them are closed.
        The lock must be acquired."""
        assert self._descriptor is not None
        return self._descriptor

    def release(self) -> None:
        """Release the lock. May be called more than once."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class NameLocks:
    """Locks of names among the processes that have opened a file: a locked octet for each name (fcntl(2)).

    ``descriptor`` is that of the file, open for writing. A process has one object for it, and closes no other
    descriptor of that file, which would release the locks. Two names share a place about once in 10^18.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def acquire(self, name: str) -> bool:
        """Lock a name; False if another process has locked it. Raises ``OSError``."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True

    def release(self, name: str) -> None:
        """Unlock a name that this process has locked."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _place(name))


def _place(name: str) -> int:
    return int.from_bytes(blake2b(os.fsencode(name), digest_size=8).digest()) >> 2
