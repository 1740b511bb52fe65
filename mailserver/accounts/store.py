"""The accounts, app passwords, aliases and lists that commands change: an SQLite file, safe at every commit.

Who may have which name, beside those that are kept here, is for others to judge; so is who logs in. All
methods block and may be called from any thread. They raise :class:`~mailserver.errors.AccountError` for
what cannot be, and :class:`~mailserver.errors.StorageError`, which names the file, if that fails.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mailserver.accounts import account_rows as rows
from mailserver.accounts.account_rows import KINDS, AccountChanges, StoredList, StoredNames, name_of
from mailserver.accounts.credentials import StoredCredentials, make_credentials, new_app_password
from mailserver.accounts.directory import Account, AppPassword, app_password_digest
from mailserver.accounts.passwords import StoredPassword
from mailserver.durable.calls import Statement
from mailserver.durable.database import Damaged, Database, marker, read_only
from mailserver.durable.disk import Disk
from mailserver.errors import AccountError, StorageError, storage_error
from mailserver.mail.address import Address
from mailserver.sasl.steps import ScramKeys

T = TypeVar("T")

USED_STEP = 60.0  # seconds: a last use is not written again before that, for each writing is a sync
MAX_NAME = 100  # characters in the name of an app password


class AccountStore:
    """The file at ``path``, or one in memory if that is None.

    Whoever must look before a change, and would be wrong if another came between, holds ``changing``.
    """

    def __init__(self, path: Path | None, disk: Disk, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._disk = disk
        self._now = now
        self._database = Database(path, disk.calls, erase=True)
        self._rows: Callable[..., list[tuple[Any, ...]]] = self._database.rows
        self._dummy_key = b""
        self.changing = threading.RLock()
        self._changed: set[Address] = set()

    def open(self) -> None:
        """Open the file, made if it was never there; its folder must be there."""
        with self._told():
            try:
                made = self._path is not None and self._is_made(self._path)
                self._database.open(() if made else rows.schema())
            except Damaged as error:
                raise self._damaged(str(error.strerror)) from error
            try:
                self._dummy_key = self._checked()
            except BaseException:
                self._database.close()
                raise

    def _checked(self) -> bytes:
        """The dummy key of a file that is whole."""
        try:
            # Without it a damaged page would be found when somebody needs it.
            found = self._rows("PRAGMA quick_check(1)")
            [(key,)] = self._rows("SELECT value FROM setting WHERE name = 'dummy_key'")
        except Damaged as error:
            raise self._damaged(str(error.strerror)) from error
        if found != [("ok",)]:
            raise self._damaged(" ".join(str(found[0][0]).split()))
        if not isinstance(key, bytes) or len(key) != rows.DUMMY_KEY:
            raise ValueError("its dummy key is none")
        return key

    def _damaged(self, reason: str) -> StorageError:
        assert self._path is not None
        return StorageError(
            f"{self._path}: {reason}; restore it from a backup, or, to begin with an empty account store, "
            f"move it and {marker(self._path).name} away"
        )

    def _is_made(self, path: Path) -> bool:
        """Whether there is a file of ours. One of another program, or of a later version, is not touched."""
        query = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
        for version, tables in read_only(path, query):
            if version != rows.VERSION and (version or tables):
                raise ValueError(f"its schema has the version {version}, and {rows.VERSION} is known")
            return bool(version == rows.VERSION)
        return False

    def close(self) -> None:
        """May be called more than once."""
        self._database.close()

    @property
    def dummy_key(self) -> bytes:
        """Random, secret, and the same as long as the file lives: for what unknown names are shown."""
        return self._dummy_key

    # ------------------------------------------------------------ what there is

    def accounts(self) -> Mapping[Address, Account]:
        """All accounts, by the key of their address."""
        return self._accounts_of()

    def _accounts_of(self, key: str | None = None) -> Mapping[Address, Account]:
        """All accounts, or the one with this key."""
        scram: dict[str, dict[str, ScramKeys]] = {}
        app_passwords: dict[str, list[AppPassword]] = {}
        with self._told(), self.changing:
            for account, hash_name, *keys in self._some(
                "SELECT account, hash, salt, iterations, stored_key, server_key FROM scram", "account", key
            ):
                scram.setdefault(account, {})[hash_name] = ScramKeys(*keys)
            for account, *columns in self._some(
                "SELECT account, name, digest, made, used FROM app_password", "account, name", key
            ):
                app_passwords.setdefault(account, []).append(AppPassword(*columns))
            return self._by_key(
                "SELECT key, address, password, secret, disabled FROM account",
                lambda key, *row: rows.account(row, scram.get(key, {}), app_passwords.get(key, ())),
                key,
            )

    def account(self, address: Address) -> Account:
        """One of them."""
        found = self._accounts_of(name_of(address)).get(address.key)
        if found is None:
            raise _unknown("account", address)
        return found

    def aliases(self) -> Mapping[Address, tuple[Address, ...]]:
        """Where the mail for each alias goes."""
        return self._aliases_of()

    def _aliases_of(self, key: str | None = None) -> Mapping[Address, tuple[Address, ...]]:
        with self._told():
            return self._by_key(
                "SELECT key, targets FROM alias", lambda key, targets: rows.decode(targets), key
            )

    def lists(self) -> Mapping[Address, StoredList]:
        """The mailing lists."""
        return self._lists_of()

    def _lists_of(self, key: str | None = None) -> Mapping[Address, StoredList]:
        with self._told():
            return self._by_key(
                "SELECT key, owner, members FROM list",
                lambda key, owner, members: rows.kept_list(owner, members),
                key,
            )

    def names(self) -> StoredNames:
        """All names, as they are at one moment."""
        with self._told(), self.changing:
            addresses = self._by_key(
                "SELECT key, address FROM account", lambda key, text: Address.parse(rows.text(text))
            )
            return StoredNames(tuple(addresses.values()), self.aliases(), self.lists())

    def take_changes(self) -> AccountChanges:
        """What has changed since this was called before, or since the file was opened."""
        with self.changing:
            changed = {key: name_of(key) for key in self._changed}
            changes = AccountChanges(
                {key: self._accounts_of(name).get(key) for key, name in changed.items()},
                {key: self._aliases_of(name).get(key) for key, name in changed.items()},
                {key: self._lists_of(name).get(key) for key, name in changed.items()},
            )
            # Only now: what could not be read is to be read again.
            self._changed.clear()
            return changes

    def keys(self) -> list[Address]:
        """The keys of all names."""
        query = " UNION ALL ".join(f"SELECT key FROM {kind}" for kind in KINDS)
        with self._told():
            return [Address.parse(key) for (key,) in self._rows(query)]

    def kind_of(self, address: Address) -> str | None:
        """What has this name: "account", "alias", "list", or nothing."""
        query = " UNION ALL ".join(f"SELECT '{kind}' FROM {kind} WHERE key = ?1" for kind in KINDS)
        with self._told():
            found = self._rows(query, (name_of(address),))
        return found[0][0] if found else None

    # ------------------------------------------------------------ accounts

    def add(self, address: Address, password: str | None, mechanisms: Collection[str] = ()) -> None:
        """A new account; without a password only app passwords, tokens and the like let it in."""
        self.require_free(address)
        found = make_credentials(password, mechanisms) if password is not None else StoredCredentials(None)
        self.take_over({address: found})

    def take_over(self, found: Mapping[Address, StoredCredentials], replace: bool = False) -> None:
        """New accounts, all or none; with ``replace`` those that are there get these credentials."""
        with self.changing:
            statements: list[Statement] = []
            for address, each in found.items():
                if replace and self.kind_of(address) == "account":
                    statements += rows.set_credentials(address, each)
                else:
                    self.require_free(address)
                    statements += rows.insert_account(address, each)
            self._commit_all(found, *statements)

    def set_password(self, address: Address, password: str, mechanisms: Collection[str] = ()) -> None:
        """Another password, with the keys that the ``mechanisms`` need; app passwords stay."""
        self._require("account", address)
        found = make_credentials(password, mechanisms)
        with self._kept("account", address):
            self._commit(address, *rows.set_credentials(address, found))

    def replace_hash(self, address: Address, old: StoredPassword, new: StoredPassword) -> None:
        """Another hash of the same password; nothing if it is not the old one any more."""
        values = (new.text, name_of(address), old.text)
        self._commit(address, ("UPDATE account SET password = ? WHERE key = ? AND password = ?", values))

    def disable(self, address: Address) -> None:
        """Let nobody log in as this account; all else stays."""
        self._set_disabled(address, True)

    def enable(self, address: Address) -> None:
        """Undo :meth:`disable`."""
        self._set_disabled(address, False)

    def _set_disabled(self, address: Address, disabled: bool) -> None:
        with self._kept("account", address):
            self._commit(
                address, ("UPDATE account SET disabled = ? WHERE key = ?", (disabled, name_of(address)))
            )

    def remove(self, address: Address) -> None:
        """Forget an account. The mail in its mailbox is not touched."""
        with self._kept("account", address):
            self._commit(address, *rows.remove_account(address))

    def add_app_password(self, address: Address, name: str) -> str:
        """A random password for one program, which is told now and never again."""
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise AccountError(f"an app password has a name of 1 to {MAX_NAME} printable characters")
        password = new_app_password()
        with self._kept("account", address):
            if self._app_password(address, name):
                raise AccountError(f"{address} already has an app password {name}")
            row = (name_of(address), name, app_password_digest(password), self._now())
            self._commit(address, ("INSERT INTO app_password VALUES (?, ?, ?, ?, 0)", row))
        return password

    def revoke_app_password(self, address: Address, name: str) -> None:
        """Forget an app password."""
        with self._kept("account", address):
            if not self._app_password(address, name):
                raise AccountError(f"{address} has no app password {name}")
            values = (name_of(address), name)
            self._commit(address, ("DELETE FROM app_password WHERE account = ? AND name = ?", values))

    def used_app_password(self, address: Address, name: str, when: float) -> None:
        """Note the last use, to the minute; nothing if it has been revoked."""
        with self.changing:
            if any(when - used >= USED_STEP for (used,) in self._app_password(address, name)):
                values = (when, name_of(address), name)
                self._commit(
                    address, ("UPDATE app_password SET used = ? WHERE account = ? AND name = ?", values)
                )

    def _app_password(self, address: Address, name: str) -> list[tuple[Any, ...]]:
        query = "SELECT used FROM app_password WHERE account = ? AND name = ?"
        with self._told():
            return self._rows(query, (name_of(address), name))

    # ------------------------------------------------------------ aliases and lists

    def set_alias(self, address: Address, to: Sequence[Address], replace: bool = False) -> None:
        """An alias for at least one address, with ``replace`` in the place of the one that is there."""
        with self.changing:
            if not (replace and self.kind_of(address) == "alias"):
                self.require_free(address)
            self._commit(address, rows.put_alias(address, _once(to)))

    def remove_alias(self, address: Address) -> None:
        """Forget an alias."""
        with self._kept("alias", address):
            self._commit(address, ("DELETE FROM alias WHERE key = ?", (name_of(address),)))

    def set_list(self, address: Address, kept: StoredList) -> None:
        """A new mailing list with at least one member."""
        with self.changing:
            self.require_free(address)
            self._commit(address, rows.put_list(address, StoredList(_once(kept.members), kept.owner)))

    def remove_list(self, address: Address) -> None:
        """Forget a mailing list."""
        with self._kept("list", address):
            self._commit(address, ("DELETE FROM list WHERE key = ?", (name_of(address),)))

    def join(self, address: Address, members: Iterable[Address]) -> None:
        """More members for a list; those that it has already stay as they are."""
        with self._kept("list", address):
            kept = self._lists_of(name_of(address))[address.key]
            self._commit(
                address, rows.put_list(address, StoredList(_once([*kept.members, *members]), kept.owner))
            )

    def leave(self, address: Address, members: Iterable[Address]) -> None:
        """Fewer members for a list, which keeps at least one."""
        gone = {member.key: member for member in members}
        with self._kept("list", address):
            kept = self._lists_of(name_of(address))[address.key]
            left = tuple(member for member in kept.members if member.key not in gone)
            strangers = gone.keys() - {member.key for member in kept.members}
            if strangers:
                told = ", ".join(str(gone[key]) for key in sorted(strangers))
                raise AccountError(f"not a member of {address}: {told}")
            if not left:
                raise AccountError(f"the list {address} needs at least one member; remove the list instead")
            self._commit(address, rows.put_list(address, StoredList(left, kept.owner)))

    # ------------------------------------------------------------ the file

    def _require(self, kind: str, address: Address) -> None:
        if self.kind_of(address) != kind:
            raise _unknown(kind, address)

    def require_free(self, address: Address) -> None:
        """Raise :class:`~mailserver.errors.AccountError` if something has this name."""
        kind = self.kind_of(address)
        if kind is not None:
            raise AccountError(f"{address} is already {KINDS[kind]}")

    @contextmanager
    def _kept(self, kind: str, address: Address) -> Iterator[None]:
        """Nothing changes but what is done within, and the address is such a name."""
        with self.changing:
            self._require(kind, address)
            yield

    def _some(self, query: str, order: str, key: str | None) -> list[tuple[Any, ...]]:
        """The rows of a query, or those of one key, which is the first column of the order."""
        if key is None:
            return self._rows(f"{query} ORDER BY {order}")
        return self._rows(f"{query} WHERE {order.partition(',')[0]} = ? ORDER BY {order}", (key,))

    def _by_key(self, query: str, value: Callable[..., T], only: str | None = None) -> dict[Address, T]:
        """Values by the key in the first column: all, or the one of ``only``."""
        found = {}
        for key, *row in self._some(query, "key", only):
            try:
                found[Address.parse(key)] = value(key, *row)
            except (ValueError, TypeError, AccountError) as error:
                raise ValueError(f"the row of {key} is damaged: {error}") from error
        return found

    def _commit(self, address: Address, *statements: Statement) -> None:
        self._commit_all([address], *statements)

    def _commit_all(self, addresses: Iterable[Address], *statements: Statement) -> None:
        """Change what has these names."""
        with self._told(), self.changing:
            # Also a commit that fails may have come about.
            self._changed.update(address.key for address in addresses)
            self._database.commit(statements)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(error) from error
        except ValueError as error:
            raise StorageError(f"{self._path}: {error}") from error


def reader(path: Path) -> AccountStore:
    """What is in a file that may be in use, which is only read; nothing if there is no file."""
    accounts = AccountStore(path, Disk())
    accounts._rows = partial(read_only, path)
    return accounts


def _unknown(kind: str, address: Address) -> AccountError:
    return AccountError(f"{address} is not {KINDS[kind]} in the account store")


def _once(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple({address.key: address for address in addresses}.values())
