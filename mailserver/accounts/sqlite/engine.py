"""Opens the database of the account store, and changes it: one transaction for each change."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from zope.interface import implementer

from mailserver.accounts.credentials import StoredCredentials
from mailserver.accounts.directory import AppPassword
from mailserver.accounts.entries import StoredList
from mailserver.accounts.interfaces import DUMMY_KEY_SIZE, IAccountEngine
from mailserver.accounts.passwords import StoredPassword
from mailserver.accounts.sqlite.rows import AccountRows, encode
from mailserver.accounts.sqlite.schema import VERSION, schema
from mailserver.durable.calls import Statement
from mailserver.durable.database import Damaged, Database, marker, read_only
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError, storage_errors
from mailserver.mail.address import Address


@implementer(IAccountEngine)
class SQLiteAccounts(AccountRows):
    """The database at ``path``, which is created if it was never there. Its folder must exist."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """Blocks. Raises :class:`~mailserver.errors.StorageError`."""
        self._database = Database(path, disk.calls, erase=True)
        super().__init__(path, self._database.rows)
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

    # ------------------------------------------------------------ accounts

    def put_credentials(self, found: Mapping[Address, StoredCredentials]) -> None:
        """See :class:`IAccountEngine`."""
        self._commit(*(statement for each in found.items() for statement in _credentials(*each)))

    def replace_hash(self, key: Address, old: StoredPassword, new: StoredPassword) -> None:
        """See :class:`IAccountEngine`."""
        query = "UPDATE account SET password = ? WHERE key = ? AND password = ?"
        self._commit((query, (new.text, str(key), old.text)))

    def set_disabled(self, key: Address, disabled: bool) -> None:
        """See :class:`IAccountEngine`."""
        self._commit(("UPDATE account SET disabled = ? WHERE key = ?", (disabled, str(key))))

    def remove_account(self, key: Address) -> None:
        """See :class:`IAccountEngine`."""
        columns = {"scram": "account", "app_password": "account", "account": "key"}
        self._commit(
            *((f"DELETE FROM {table} WHERE {column} = ?", (str(key),)) for table, column in columns.items())
        )

    def rename(
        self,
        accounts: Mapping[Address, Address],
        removed: Collection[Address],
        aliases: Mapping[Address, Sequence[Address]],
        lists: Mapping[Address, StoredList],
    ) -> None:
        """See :class:`IAccountEngine`."""
        statements: list[Statement] = []
        for key, address in accounts.items():
            words = (str(address.key), str(address), str(key))
            statements.append(("UPDATE account SET key = ?, address = ? WHERE key = ?", words))
            for table in ("scram", "app_password"):
                query = f"UPDATE {table} SET account = ? WHERE account = ?"
                statements.append((query, (str(address.key), str(key))))
        for key in removed:
            statements += [(f"DELETE FROM {table} WHERE key = ?", (str(key),)) for table in ("alias", "list")]
        statements += [_put_alias(*each) for each in aliases.items()]
        statements += [_put_list(*each) for each in lists.items()]
        self._commit(*statements)

    # ------------------------------------------------------------ app passwords

    def add_app_password(self, key: Address, app_password: AppPassword) -> None:
        """See :class:`IAccountEngine`."""
        row = (str(key), app_password.name, app_password.digest, app_password.made, app_password.used)
        self._commit(("INSERT INTO app_password VALUES (?, ?, ?, ?, ?)", row))

    def remove_app_password(self, key: Address, name: str) -> None:
        """See :class:`IAccountEngine`."""
        self._commit(("DELETE FROM app_password WHERE account = ? AND name = ?", (str(key), name)))

    def record_app_password_use(self, key: Address, name: str, when: float) -> None:
        """See :class:`IAccountEngine`."""
        query = "UPDATE app_password SET used = ? WHERE account = ? AND name = ?"
        self._commit((query, (when, str(key), name)))

    # ------------------------------------------------------------ aliases and lists

    def put_alias(self, address: Address, targets: Sequence[Address]) -> None:
        """See :class:`IAccountEngine`."""
        self._commit(_put_alias(address, targets))

    def remove_alias(self, key: Address) -> None:
        """See :class:`IAccountEngine`."""
        self._commit(("DELETE FROM alias WHERE key = ?", (str(key),)))

    def put_list(self, address: Address, entry: StoredList) -> None:
        """See :class:`IAccountEngine`."""
        self._commit(_put_list(address, entry))

    def remove_list(self, key: Address) -> None:
        """See :class:`IAccountEngine`."""
        self._commit(("DELETE FROM list WHERE key = ?", (str(key),)))

    def _commit(self, *statements: Statement) -> None:
        with storage_errors(self._path):
            self._database.commit(statements)


class ReadOnlyAccounts(SQLiteAccounts):
    """The database at ``path``, which a server may be using. It is empty if there is no such file."""

    dummy_key = b""

    def __init__(self, path: Path) -> None:
        AccountRows.__init__(self, path, partial(read_only, path))

    def close(self) -> None:
        """See :class:`IAccountEngine`."""

    def _commit(self, *statements: Statement) -> None:
        raise StorageError(f"{self._path}: opened for reading only")


def _exists(path: Path) -> bool:
    """Whether our database is there. Raises ``ValueError`` for that of another program or a later version."""
    query = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    for version, tables in read_only(path, query):
        if version != VERSION and (version or tables):
            raise ValueError(f"its schema has version {version}, but only version {VERSION} is supported")
        return bool(version == VERSION)
    return False


def _put_alias(address: Address, targets: Sequence[Address]) -> Statement:
    row = (str(address.key), str(address), encode(targets))
    return "INSERT OR REPLACE INTO alias VALUES (?, ?, ?)", row


def _put_list(address: Address, entry: StoredList) -> Statement:
    owner = str(entry.owner) if entry.owner is not None else None
    row = (str(address.key), str(address), owner, encode(entry.members))
    return "INSERT OR REPLACE INTO list VALUES (?, ?, ?, ?)", row


def _credentials(address: Address, found: StoredCredentials) -> Iterator[Statement]:
    """Add an account if it is new, and replace its credentials."""
    key = str(address.key)
    password = found.password.text if found.password is not None else None
    yield "INSERT OR IGNORE INTO account VALUES (?, ?, NULL, NULL, 0)", (key, str(address))
    yield "UPDATE account SET password = ?, secret = ? WHERE key = ?", (password, found.secret, key)
    yield "DELETE FROM scram WHERE account = ?", (key,)
    for hash_name, keys in found.scram.items():
        row = (key, hash_name, keys.salt, keys.iterations, keys.stored_key, keys.server_key)
        yield "INSERT INTO scram VALUES (?, ?, ?, ?, ?, ?)", row
