"""System calls that fail as a disk does, and what is known of the data behind them.

Once a sync has failed, the kernel takes the data for written and another sync says yes: what was to be
synced then is *doubtful* for ever and must be written anew. What was written and never synced is *unsafe*:
a power cut may take it away.
"""

import errno
import os
import sqlite3
import stat
from collections.abc import Sequence
from typing import Any

import attrs

from mailserver.durable.calls import Statement, StrPath
from tests.support.faulty_calls import FaultyCalls

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE)
FULL = (errno.ENOSPC, errno.EDQUOT)

# What SQLite makes of each error of its own system calls (os_unix.c): a full quota is none of its words.
_IN_SQLITE = {
    errno.ENOSPC: (sqlite3.SQLITE_FULL, "database or disk is full"),
    errno.EDQUOT: (sqlite3.SQLITE_IOERR_WRITE, "disk I/O error"),
    errno.EIO: (sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"),
    errno.EROFS: (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
    errno.EMFILE: (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
}
_GROWS = ("write", "fsync", "syncfs", "mkdir", "rename", "link", "commit")
# Which calls fail while a disk is in that state; ``open`` is "create" where it makes a file.
_WHILE = {
    errno.ENOSPC: ("create", *_GROWS),
    errno.EDQUOT: ("create", *_GROWS),
    errno.EIO: ("create", "open", "unlink", *_GROWS),
    errno.EROFS: ("create", "write", "mkdir", "rename", "link", "unlink", "commit"),
    errno.EMFILE: ("create", "open"),
}


@attrs.frozen
class Fault:
    """The ``number``-th call fails; ``lasting``: so does what such a disk refuses after it.

    ``doubt``: a commit that fails is found to be complete if the process ends before the next one: SQLite
    overwrites what it wrote to its log, or finds it there when it opens the log (sqlite.org/wal.html).
    """

    number: int
    error: int
    lasting: bool = False
    doubt: bool = False

    def __str__(self) -> str:
        more = " and from then on" * self.lasting + " in doubt" * self.doubt
        return f"{errno.errorcode[self.error]} at call {self.number}{more}"


class FailingCalls(FaultyCalls):
    """Recorded calls, with one fault. ``swallow`` names a call whose failure nobody is told: a control."""

    def __init__(self, swallow: str = "") -> None:
        super().__init__()
        self.swallow = swallow
        self.unsafe: set[int] = set()  # inodes
        self.doubtful: set[int] = set()
        self.not_removed: set[str] = set()  # paths
        self.removed: set[str] = set()
        self.failed: list[str] = []  # names
        self.in_doubt: Sequence[Statement] = ()
        self._fault: Fault | None = None
        self._hit = False
        self._creates = False
        self._folders: set[int] = set()  # descriptors
        self._owed: dict[int, int] = {}  # descriptors to be told of a failed sync, and of which error

    def begin(self, fault: Fault | None) -> None:
        """Forget what was recorded; let the fault happen."""
        self.made.clear()
        self.failed.clear()
        self._fault = fault
        self.error = fault.error if fault else 0
        self.fails = self._decide

    @property
    def first_failed(self) -> list[str]:
        """The name of the first call that failed, if one did."""
        return self.failed[:1]

    def _decide(self, number: int, name: str) -> bool:
        fault = self._fault
        if fault is None or number < fault.number:
            return False
        kind = "create" if name == "open" and self._creates else name
        self._hit = number == fault.number or (fault.lasting and kind in _WHILE[fault.error])
        self.failed += [name] * self._hit
        return self._hit

    def power_cut(self) -> set[int]:
        """The inodes of files that need not have survived; what is there afterwards is on the disk."""
        lost = self.unsafe | self.doubtful
        self.unsafe.clear()
        self.doubtful.clear()
        self._owed.clear()
        return lost

    def _call(self, name: str, *arguments: Any) -> Any:
        self._hit = False
        try:
            return getattr(FaultyCalls, name)(self, *arguments)
        except OSError:
            if self._hit and name == self.swallow:
                return len(arguments[1]) if name == "write" else None
            raise

    def open(self, path: StrPath, flags: int, mode: int = 0o600) -> int:
        self._creates = bool(flags & os.O_CREAT)
        descriptor: int = self._call("open", path, flags, mode)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._folders.add(descriptor)
        elif flags & os.O_EXCL:
            self.doubtful.discard(status.st_ino)
            self.unsafe.add(status.st_ino)
        return descriptor

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        written: int = self._call("write", descriptor, data)
        return written

    def fsync(self, descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        try:
            self._call("fsync", descriptor)
        finally:
            if self._hit and inode in self.unsafe:
                self.doubtful.add(inode)
        self.unsafe.discard(inode)

    def syncfs(self, descriptor: int) -> None:
        try:
            self._call("syncfs", descriptor)
        finally:
            if self._hit:
                # Every open file of the file system is told, once.
                self.doubtful |= self.unsafe
                self._owed.update(dict.fromkeys(self._folders - {descriptor}, self.error))
                self._owed.pop(descriptor, None)
        if number := self._owed.pop(descriptor, 0):
            raise OSError(number, os.strerror(number))
        self.unsafe.clear()

    def close(self, descriptor: int) -> None:
        self._folders.discard(descriptor)
        self._owed.pop(descriptor, None)
        if self.swallow == "close" and self.fails(len(self.made) + 1, "close"):
            self.made.append(("close", descriptor))
            return
        self._call("close", descriptor)

    def mkdir(self, path: StrPath, mode: int) -> None:
        self._call("mkdir", path, mode)

    def rename(self, source: StrPath, target: StrPath) -> None:
        self._call("rename", source, target)

    def link(self, source: StrPath, target: StrPath) -> None:
        self._call("link", source, target)

    def unlink(self, path: StrPath) -> None:
        try:
            self._call("unlink", path)
        finally:
            (self.not_removed if self._hit else self.removed).add(str(path))

    def commit(self, database: sqlite3.Connection, statements: Sequence[Statement]) -> None:
        try:
            self._call("commit", database, statements)
        except OSError as failure:
            assert failure.errno is not None
            self.in_doubt = statements if self._fault and self._fault.doubt else ()
            code, text = _IN_SQLITE[failure.errno]
            error = sqlite3.OperationalError(text)
            error.sqlite_errorcode = code
            raise error from None
        self.in_doubt = ()
