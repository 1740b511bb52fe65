"""An SQLite database whose commits survive a power failure.

It uses WAL mode with ``synchronous=FULL``: a commit appends to the log and syncs it once. SQLite ignores a
torn log entry because its checksum is wrong (sqlite.org/wal.html). A second file, the marker, records that
the database was created, because SQLite treats an empty file as a new database. ``sqlite3.Error`` becomes
``OSError`` with a suitable number, or :class:`Damaged` if the database is damaged, empty or missing.
"""

import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mailserver.durable.calls import BoundValues, Statement, SystemCalls
from mailserver.durable.disk import FILE_MODE, Disk

_NUMBERS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_BUSY: errno.EAGAIN,
}
_MAGIC = b"SQLite format 3\0"  # sqlite.org/fileformat2.html
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PAGES = 500  # of a database that are copied at a time
BUSY = 10.0  # seconds to wait for a lock, which only the clean-up of a reader holds


class Damaged(OSError):
    """The database is damaged, or empty or missing after its creation; ``strerror`` says which."""


class Database:
    """One connection, for any thread. A read waits for a commit and sees all of it or nothing."""

    __slots__ = ("_calls", "_connection", "_erase", "_lock", "_path")

    def __init__(self, path: Path, calls: SystemCalls, *, erase: bool = False) -> None:
        """With ``erase``, deleted content is overwritten, and each commit is also written to the database
        file, so that losing the log loses nothing. It costs two more syncs for each commit.
        """
        self._erase = erase
        self._path = path
        self._calls = calls
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self, schema: Sequence[str]) -> None:
        """Open the file and sync its folder. Creates the database with ``schema`` if it never existed."""
        with _translated(self._path):
            made = marker(self._path).exists()
            self._touch(self._path, made)
            connection = sqlite3.connect(
                self._path, timeout=BUSY, isolation_level=None, check_same_thread=False
            )
            connection.text_factory = _text
            try:
                if made and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
                    raise Damaged(errno.EIO, "is empty", str(self._path))
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                # In some builds it is on by default; in the spool that would be half of all writes.
                connection.execute(f"PRAGMA secure_delete={'ON' if self._erase else 'OFF'}")
                self._calls.commit(connection, [(statement, ()) for statement in schema])
                self._empty_log(connection)
                self._mark(self._path, made)
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def _touch(self, path: Path, made: bool) -> None:
        # SQLite gives the files beside this one the same mode.
        flags = os.O_RDWR | os.O_NOFOLLOW | (0 if made else os.O_CREAT)
        try:
            self._calls.close(self._calls.open(path, flags, FILE_MODE))
        except FileNotFoundError:
            if not made:
                raise
            raise Damaged(errno.EIO, "is missing", str(path)) from None

    def _mark(self, path: Path, made: bool) -> None:
        disk = Disk(self._calls)
        disk.sync_dir(path.parent)
        if not made:
            # Last, because the server does not start with a marker but no database.
            disk.replace(marker(path), f"{path.name} was made here\n".encode())

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        if self._erase:
            # If this fails, the commit is still safe in the log, and the next commit tries again.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

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
            self._empty_log(self._opened())

    def rows(self, query: str, parameters: BoundValues = ()) -> list[tuple[Any, ...]]:
        """The rows of the result of a query."""
        with self._lock, _translated(self._path):
            return self._opened().execute(query, parameters).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise OSError(errno.EBADF, "the database is not open", str(self._path))
        return self._connection


def marker(path: Path) -> Path:
    """The marker of the database at ``path``. ``rm accounts.db*`` does not remove it."""
    return path.with_name(f"made-{path.name}")


def files(path: Path) -> list[Path]:
    """The files of the database at ``path``, which may not exist: itself first, and the marker last."""
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")), marker(path)]


def read_only(path: Path, query: str, parameters: BoundValues = ()) -> list[tuple[Any, ...]]:
    """The rows of the result of a query. Another process may use the database. No rows without a file.

    Creates no files: without a log, SQLite would create one, and leave it.
    """
    if not path.exists():
        return []
    # A process that uses the database has a log (sqlite.org/wal.html, "Read-Only Databases").
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    with _translated(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY)
        connection.text_factory = _text
        try:
            return connection.execute(query, parameters).fetchall()
        finally:
            connection.close()


class DatabaseSnapshot:
    """A database as it is when this object is made; others may change it meanwhile. It must exist.

    For any thread, but only one at a time. All methods raise ``OSError``.
    """

    __slots__ = ("_connection", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        with _translated(path):
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=BUSY,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._connection.text_factory = _text
                self._connection.execute("BEGIN")
                # The transaction sees the state of its first read.
                self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            except BaseException:
                self._connection.close()
                raise

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of the result of a query, one after the other."""
        with _translated(self._path):
            yield from self._connection.execute(query, parameters)

    def copy(self, target: Path, calls: SystemCalls, go_on: Callable[[], bool] = lambda: True) -> None:
        """Write the database to a new file, which needs no log beside it. The caller syncs the file.

        Raises ``InterruptedError`` once ``go_on`` returns false.
        """

        def progress(status: int, remaining: int, total: int) -> None:
            if not go_on():
                raise InterruptedError(errno.EINTR, "aborted", str(target))

        calls.close(calls.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))
        with _translated(target), contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous=OFF")
            self._connection.backup(copy, pages=PAGES, progress=progress)
            copy.execute("PRAGMA journal_mode=DELETE")

    def close(self) -> None:
        """May be called more than once."""
        self._connection.close()


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database, by its first octets."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
    return False


def damage(path: Path) -> str | None:
    """The damage of a database, as the ``strerror`` of :class:`Damaged`. None if it is intact or was never
    created. Raises ``OSError``."""
    if not marker(path).exists() and not path.exists():
        return None
    try:
        if not read_only(path, "SELECT 1 FROM sqlite_master LIMIT 1"):
            return "is empty" if path.exists() else "is missing"
        ((found,),) = read_only(path, "PRAGMA integrity_check(1)")
    except Damaged as error:
        return error.strerror
    return None if found == "ok" else " ".join(str(found).split())


def _text(octets: bytes) -> str:
    """Decode without errors; the reader of a row checks its values."""
    return octets.decode("utf-8", "surrogateescape")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGED:
            raise Damaged(errno.EIO, str(error), str(path)) from error
        raise OSError(_NUMBERS.get(code, errno.EIO), str(error), str(path)) from error
