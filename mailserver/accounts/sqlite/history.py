"""The history of contacts in an SQLite database of its own.

    seen    one row for each entry; ``first`` and ``last`` are in seconds since the epoch

``PRAGMA user_version`` is the version of this schema. A database of a later version is not used.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from zope.interface import implementer

from mailserver.accounts.interfaces import IHistoryEngine
from mailserver.durable.calls import numbered
from mailserver.durable.database import Database, damage, marker, read_only
from mailserver.durable.disk import Disk
from mailserver.errors import storage_errors
from mailserver.mail.finding import Finding
from mailserver.mail.seen import Seen, SeenKey, SeenKind

VERSION = 1

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS seen (kind TEXT NOT NULL, key TEXT NOT NULL, first REAL NOT NULL,"
    " last REAL NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS seen_last ON seen (kind, last)",
    f"PRAGMA user_version = {VERSION}",
)
_FIND = "SELECT first, last, count FROM seen WHERE kind = ? AND key = ?"
_PUT = "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)"
_EXPIRE = "DELETE FROM seen WHERE kind = ? AND last < ?"
_SHRINK = (
    "DELETE FROM seen WHERE kind = ?1 AND key IN (SELECT key FROM seen WHERE kind = ?1"
    " ORDER BY last DESC, key LIMIT -1 OFFSET ?2)"
)


@implementer(IHistoryEngine)
class SQLiteHistory:
    """The database at ``path``, which is created if it was never there. Its folder must exist."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """Blocks. Raises :class:`~mailserver.errors.StorageError`."""
        self._path = path
        self._database = Database(path, disk.calls)
        with storage_errors(self._path):
            for (version,) in read_only(path, "PRAGMA user_version"):
                if version not in (0, VERSION):
                    text = f"its schema has version {version}, but only version {VERSION} is supported"
                    raise ValueError(text)
            self._database.open(_SCHEMA)

    def close(self) -> None:
        """See :class:`IHistoryEngine`."""
        self._database.close()

    def find(self, keys: Collection[SeenKey]) -> Mapping[SeenKey, Seen]:
        """See :class:`IHistoryEngine`."""
        with storage_errors(self._path):
            return {key: _seen(row) for key in keys for row in self._database.rows(_FIND, key)}

    def put(self, entries: Mapping[SeenKey, Seen]) -> None:
        """See :class:`IHistoryEngine`."""
        with storage_errors(self._path):
            self._database.commit(
                [(_PUT, (*key, seen.first, seen.last, seen.count)) for key, seen in entries.items()]
            )

    def trim(self, kind: SeenKind, before: float, most: int) -> None:
        """See :class:`IHistoryEngine`."""
        with storage_errors(self._path):
            self._database.commit([(_EXPIRE, (kind, before)), (_SHRINK, numbered(kind, most))])


def stored_entries(path: Path, keys: Collection[SeenKey]) -> Mapping[SeenKey, Seen]:
    """The entries with these keys in the database at ``path``, which another process may use.

    Raises ``OSError``, and ``ValueError`` for a damaged row.
    """
    return {key: _seen(row) for key in keys for row in read_only(path, _FIND, key)}


def verify(path: Path) -> Iterator[Finding]:
    """The damage of the database at ``path``. Raises ``OSError``."""
    if problem := damage(path):
        yield Finding(path, problem, f"be lost: remove it and {marker(path).name}, and restart")


def _seen(row: tuple[Any, ...]) -> Seen:
    first, last, count = row
    if not (isinstance(first, float) and isinstance(last, float) and isinstance(count, int)):
        raise ValueError("a row is damaged")
    return Seen(first, last, count)
