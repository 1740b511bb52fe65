"""Opens the database of the account store."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mailserver.accounts.interfaces import DUMMY_KEY_SIZE
from mailserver.accounts.sql.changes import SQLAccounts
from mailserver.accounts.sqlite.schema import VERSION, schema
from mailserver.durable.calls import Statement
from mailserver.durable.database import Damaged, Database, marker, read_only
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError, storage_errors


class SQLiteAccounts(SQLAccounts):
    """The database at ``path``, which is created if it was never there. Its folder must exist."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """Blocks. Raises :class:`~mailserver.errors.StorageError`."""
        self._path = path
        self._database = Database(path, disk.calls, erase=True)
        super().__init__(path, self._database.rows, self._database.commit)
        with storage_errors(self._path):
            try:
                self._database.open(() if _exists(path) else schema())
                self.dummy_key = self._checked()
            except Damaged as error:
                self._database.close()
                raise self._damaged(str(error.strerror)) from error
            except BaseException:
                self._database.close()
                raise

    def _checked(self) -> bytes:
        """The dummy key. Raises if the database is damaged."""
        # Without this check a damaged page would be found only when its rows are read.
        found = self._rows("PRAGMA quick_check(1)")
        [(key,)] = self._rows("SELECT value FROM setting WHERE name = 'dummy_key'")
        if found != [("ok",)]:
            raise self._damaged(" ".join(str(found[0][0]).split()))
        if not isinstance(key, bytes) or len(key) != DUMMY_KEY_SIZE:
            raise ValueError("invalid dummy key")
        return key

    def _damaged(self, reason: str) -> StorageError:
        return StorageError(
            f"{self._path}: {reason}; restore it from a backup, or, to begin with an empty account store, "
            f"move it and {marker(self._path).name} away"
        )

    def close(self) -> None:
        """See :class:`IAccountEngine`."""
        self._database.close()


class ReadOnlyAccounts(SQLiteAccounts):
    """The database at ``path``, which a server may be using. It is empty if there is no such file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        SQLAccounts.__init__(self, path, partial(read_only, path), self._refuse)

    def close(self) -> None:
        """See :class:`IAccountEngine`."""

    def _refuse(self, statements: Sequence[Statement]) -> None:
        raise StorageError(f"{self._path}: opened for reading only")


def _exists(path: Path) -> bool:
    """Whether our database is there. Raises ``ValueError`` for that of another program or a later version."""
    query = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    for version, tables in read_only(path, query):
        if version != VERSION and (version or tables):
            raise ValueError(f"its schema has version {version}, but only version {VERSION} is supported")
        return bool(version == VERSION)
    return False
