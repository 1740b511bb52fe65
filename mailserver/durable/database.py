"""An SQLite database whose commits survive power loss.

WAL mode with ``synchronous=FULL``: a commit appends to the log and syncs it once; a torn log entry
does not pass its checksum and is as if never written (sqlite.org/wal.html). ``sqlite3.Error`` becomes
``OSError`` with the number that fits, :class:`Damaged` if the file is none any more.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mailserver.durable.calls import Statement, SystemCalls
from mailserver.durable.disk import FILE_MODE

_NUMBERS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_BUSY: errno.EAGAIN,
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
BUSY = 10.0  # seconds; nobody but a reader's clean-up ever holds it up


class Damaged(OSError):
    """The file is no database any more; the text is SQLite's."""


class Database:
    """One connection, for any thread: reading waits for a commit, and sees all of it or nothing."""

    __slots__ = ("_calls", "_connection", "_erase", "_lock", "_path")

    def __init__(self, path: Path | None, calls: SystemCalls, *, erase: bool = False) -> None:
        """Without a path the database is in memory. With ``erase`` what is deleted is overwritten."""
        self._erase = erase
        self._path = path
        self._calls = calls
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self, schema: Sequence[str]) -> None:
        """Open the file, made with ``schema`` if it is missing. Its folder is the caller's to sync."""
        with _translated(self._path):
            if self._path is not None:
                # SQLite gives the files beside this one the same mode.
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
                self._calls.close(self._calls.open(self._path, flags, FILE_MODE))
            connection = sqlite3.connect(
                self._path or ":memory:", timeout=BUSY, isolation_level=None, check_same_thread=False
            )
            connection.text_factory = _text
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                # Some builds overwrite by themselves; in the spool that would be half of all writing.
                connection.execute(f"PRAGMA secure_delete={'ON' if self._erase else 'OFF'}")
                self._calls.commit(connection, [(statement, ()) for statement in schema])
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def close(self) -> None:
        """May be called more than once."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def commit(self, statements: Sequence[Statement]) -> None:
        """Run statements as one transaction, all or none, durable when this returns."""
        with self._lock, _translated(self._path):
            self._calls.commit(self._opened(), statements)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of an answer."""
        with self._lock, _translated(self._path):
            return self._opened().execute(query, parameters).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise OSError(errno.EBADF, "the database is not open", str(self._path))
        return self._connection


def read_only(path: Path, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of an answer from a database that may be in use; none if there is no such file."""
    if not path.exists():
        return []
    with _translated(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY)
        connection.text_factory = _text
        try:
            return connection.execute(query, parameters).fetchall()
        finally:
            connection.close()


def _text(octets: bytes) -> str:
    """What is no text is for the reader to judge."""
    return octets.decode("utf-8", "surrogateescape")


@contextmanager
def _translated(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGED:
            raise Damaged(errno.EIO, str(error), str(path)) from error
        raise OSError(_NUMBERS.get(code, errno.EIO), str(error), str(path)) from error
