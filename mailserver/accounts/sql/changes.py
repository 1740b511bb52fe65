"""Changes the entries of the account store: one transaction for each change.

SQLite and PostgreSQL understand the statements.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zope.interface import implementer

from mailserver.accounts.credentials import StoredCredentials
from mailserver.accounts.directory import AppPassword
from mailserver.accounts.entries import StoredList
from mailserver.accounts.interfaces import IAccountEngine
from mailserver.accounts.passwords import StoredPassword
from mailserver.accounts.sql.rows import AccountRows, StoredRow, encode
from mailserver.durable.calls import Statement
from mailserver.errors import storage_errors
from mailserver.mail.address import Address


@implementer(IAccountEngine)
class SQLAccounts(AccountRows):
    """The account store in a database. ``commit`` runs statements in one transaction; it blocks, and raises
    ``OSError``."""

    dummy_key = b""

    def __init__(
        self,
        place: Path | str,
        rows: Callable[..., Sequence[tuple[Any, ...]]],
        commit: Callable[[Sequence[Statement]], None],
    ) -> None:
        super().__init__(place, rows)
        self._run = commit

    def close(self) -> None:
        """See :class:`IAccountEngine`."""

    def revision(self) -> int:
        """See :class:`IAccountEngine`. Nobody else changes a file while a server uses it."""
        return 0

    def _commit(self, *statements: Statement) -> None:
        with storage_errors(self._place):
            self._run(statements)

    def add_entries(self, entries: Iterable[Sequence[StoredRow]]) -> None:
        """Add entries of another database; all or none. Their keys must be free."""
        self._commit(
            *(
                (f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
                for each in entries
                for table, row in each
            )
        )

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


def _put_alias(address: Address, targets: Sequence[Address]) -> Statement:
    row = (str(address.key), str(address), encode(targets))
    return (
        "INSERT INTO alias VALUES (?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET address = excluded.address, targets = excluded.targets",
        row,
    )


def _put_list(address: Address, entry: StoredList) -> Statement:
    owner = str(entry.owner) if entry.owner is not None else None
    row = (str(address.key), str(address), owner, encode(entry.members))
    return (
        "INSERT INTO list VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
        " SET address = excluded.address, owner = excluded.owner, members = excluded.members",
        row,
    )


def _credentials(address: Address, found: StoredCredentials) -> Iterator[Statement]:
    """Add an account if it is new, and replace its credentials."""
    key = str(address.key)
    password = found.password.text if found.password is not None else None
    query = "INSERT INTO account VALUES (?, ?, NULL, NULL, ?) ON CONFLICT DO NOTHING"
    yield query, (key, str(address), False)
    yield "UPDATE account SET password = ?, secret = ? WHERE key = ?", (password, found.secret, key)
    yield "DELETE FROM scram WHERE account = ?", (key,)
    for hash_name, keys in found.scram.items():
        row = (key, hash_name, keys.salt, keys.iterations, keys.stored_key, keys.server_key)
        yield "INSERT INTO scram VALUES (?, ?, ?, ?, ?, ?)", row
