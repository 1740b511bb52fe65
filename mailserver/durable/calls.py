"""The system calls that change files, one method each, and the commit of a database.

Tests replace an instance by one that counts, records or fails the calls.
"""

import contextlib
import ctypes
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Any

StrPath = str | os.PathLike[str]
BoundValues = Sequence[Any] | Mapping[str, Any]
Statement = tuple[str, BoundValues]


def numbered(*values: Any) -> Mapping[str, Any]:
    """The parameters ?1, ?2 and so on of a statement. To Python 3.14 these are names."""
    return {str(number): value for number, value in enumerate(values, 1)}


class SystemCalls:
    """Each method makes one system call, and raises ``OSError`` if it fails."""

    __slots__ = ()

    def open(self, path: StrPath, flags: int, mode: int = 0o600) -> int:
        """Open a file, close-on-exec. The caller closes the descriptor."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write, and return the number of octets written, which may be fewer than given."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def syncfs(self, descriptor: int) -> None:
        """Sync the whole file system that holds the open file."""
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def mkdir(self, path: StrPath, mode: int) -> None:
        os.mkdir(path, mode)
        # The umask may have removed more permissions.
        os.chmod(path, mode)

    def rename(self, source: StrPath, target: StrPath) -> None:
        os.rename(source, target)

    def utime(self, path: StrPath, when: float) -> None:
        """Set the times of the last access and the last change."""
        os.utime(path, (when, when), follow_symlinks=False)

    def link(self, source: StrPath, target: StrPath) -> None:
        os.link(source, target)

    def unlink(self, path: StrPath) -> None:
        os.unlink(path)

    def rmdir(self, path: StrPath) -> None:
        os.rmdir(path)

    def commit(self, database: sqlite3.Connection, statements: Sequence[Statement]) -> None:
        """Run statements as one transaction, durable when this returns. Raises ``sqlite3.Error``."""
        if len(statements) == 1:
            database.execute(*statements[0])  # a transaction of its own, in one call
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                database.execute(*statement)
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already
                database.execute("ROLLBACK")
            raise


_libc = ctypes.CDLL(None, use_errno=True)
HAS_SYNCFS = sys.platform == "linux" and hasattr(_libc, "syncfs")
