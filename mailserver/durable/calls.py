"""The system calls by which this project changes files, one method each.

A test replaces an instance by one that counts, records and fails them; nothing else belongs here.
"""

import ctypes
import os
import sys
from pathlib import Path


class SystemCalls:
    """Each method stands for one system call and raises ``OSError`` when that fails."""

    __slots__ = ()

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open close-on-exec; the descriptor is the caller's to close."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def chmod(self, descriptor: int, mode: int) -> None:
        os.fchmod(descriptor, mode)

    def write(self, descriptor: int, data: memoryview) -> int:
        """The number of octets written, which may be fewer than given."""
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

    def mkdir(self, path: Path, mode: int) -> None:
        path.mkdir(mode)
        # The umask may have taken more away than was asked for.
        path.chmod(mode)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()


_libc = ctypes.CDLL(None, use_errno=True)
HAS_SYNCFS = sys.platform == "linux" and hasattr(_libc, "syncfs")
