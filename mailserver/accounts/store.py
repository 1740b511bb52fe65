"""The account store: the accounts, app passwords, aliases and mailing lists that commands change.

The store decides which names are free and what each entry may be; an engine keeps the entries. It does not
know the names of the configuration (see ``commands.account_admin``). All methods block, and may be called
from any thread. They raise :class:`~mailserver.errors.AccountError` for a change that is not possible, and
:class:`~mailserver.errors.StorageError` if the engine fails.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from mailserver.accounts.credentials import StoredCredentials, make_credentials, new_app_password
from mailserver.accounts.directory import Account, AppPassword, app_password_digest
from mailserver.accounts.entries import KINDS, AccountChanges, StoredList, StoredNames
from mailserver.accounts.interfaces import IAccountEngine
from mailserver.accounts.passwords import StoredPassword
from mailserver.errors import AccountError
from mailserver.mail.address import Address

USED_STEP = 60.0  # seconds: a later use within that time is not recorded, as each record costs a sync
MAX_NAME = 100  # characters in the name of an app password


class AccountStore:
    """The entries of an engine, under one lock.

    Hold ``changing`` for a change that depends on something read before.
    """

    def __init__(self, engine: IAccountEngine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now
        self.changing = threading.RLock()
        self._changed: set[Address] = set()

    def close(self) -> None:
        """May be called more than once."""
        self._engine.close()

    @property
    def dummy_key(self) -> bytes:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        return self._engine.dummy_key

    # ------------------------------------------------------------ reading

    def accounts(self) -> Mapping[Address, Account]:
        """All accounts by key."""
        with self.changing:
            return self._engine.accounts()

    def account(self, address: Address) -> Account:
        """One account."""
        with self.changing:
            found = self._engine.account(address.key)
        if found is None:
            raise _unknown("account", address)
        return found

    def aliases(self) -> Mapping[Address, tuple[Address, ...]]:
        """The targets of all aliases by key."""
        with self.changing:
            return self._engine.aliases()

    def lists(self) -> Mapping[Address, StoredList]:
        """All mailing lists by key."""
        with self.changing:
            return self._engine.lists()

    def names(self) -> StoredNames:
        """All names, as they are at one moment."""
        with self.changing:
            return StoredNames(tuple(self._engine.addresses()), self.aliases(), self.lists())

    def everything(self) -> tuple[Mapping[Address, Account], StoredNames]:
        """All accounts by key, and all names, as they are at one moment."""
        with self.changing:
            accounts = self.accounts()
            addresses = tuple(account.address for account in accounts.values())
            return accounts, StoredNames(addresses, self.aliases(), self.lists())

    def revision(self) -> int:
        """See :meth:`~mailserver.accounts.interfaces.IAccountEngine.revision`."""
        with self.changing:
            return self._engine.revision()

    def keys(self) -> Collection[Address]:
        """The keys of all names."""
        with self.changing:
            return self._engine.keys()

    def kind_of(self, address: Address) -> str | None:
        """The kind of the entry with this name: "account", "alias", "list", or None."""
        with self.changing:
            return self._engine.kind_of(address.key)

    def take_changes(self) -> AccountChanges:
        """The changes since the last call, or since the store was built."""
        engine = self._engine
        with self.changing:
            changes = AccountChanges(
                {key: engine.account(key) for key in self._changed},
                {key: engine.alias(key) for key in self._changed},
                {key: engine.mailing_list(key) for key in self._changed},
            )
            # Only now: after a failed read, the next call reads the same entries.
            self._changed.clear()
            return changes

    # ------------------------------------------------------------ accounts

    def add(self, address: Address, password: str | None, mechanisms: Collection[str] = ()) -> None:
        """Add an account. Without a password, only app passwords, tokens and the like can log in to it."""
        self.require_free(address)
        found = StoredCredentials(None) if password is None else make_credentials(password, mechanisms)
        self.import_accounts({address: found})

    def import_accounts(self, found: Mapping[Address, StoredCredentials], replace: bool = False) -> None:
        """Add accounts, all or none. With ``replace``, replace the credentials of existing accounts."""
        with self.changing:
            for address in found:
                if not (replace and self.kind_of(address) == "account"):
                    self.require_free(address)
            with self._change(*found):
                self._engine.put_credentials(found)

    def set_password(self, address: Address, password: str, mechanisms: Collection[str] = ()) -> None:
        """Replace the password, with the keys that the ``mechanisms`` need. App passwords stay."""
        self._require("account", address)
        found = make_credentials(password, mechanisms)
        with self._existing("account", address), self._change(address):
            self._engine.put_credentials({address: found})

    def replace_hash(self, address: Address, old: StoredPassword, new: StoredPassword) -> None:
        """Replace the hash by another one of the same password, unless the password has changed."""
        with self._change(address):
            self._engine.replace_hash(address.key, old, new)

    def disable(self, address: Address) -> None:
        """Refuse logins to this account. Everything else stays."""
        self._set_disabled(address, True)

    def enable(self, address: Address) -> None:
        """Undo :meth:`disable`."""
        self._set_disabled(address, False)

    def _set_disabled(self, address: Address, disabled: bool) -> None:
        with self._existing("account", address), self._change(address):
            self._engine.set_disabled(address.key, disabled)

    def remove(self, address: Address) -> None:
        """Remove an account. The mail in its mailbox stays."""
        with self._existing("account", address), self._change(address):
            self._engine.remove_account(address.key)

    def rename(self, accounts: Mapping[Address, Address], after: StoredNames) -> None:
        """Give accounts other addresses, by key. ``after`` has the names that result."""
        with self.changing:
            before = self.names()
            for key, address in accounts.items():
                self._require("account", key)
                if address.key != key:
                    self.require_free(address)
            removed = [
                *(key for key in before.aliases if key not in after.aliases),
                *(key for key in before.lists if key not in after.lists),
            ]
            aliases = {key: to for key, to in after.aliases.items() if before.aliases.get(key) != to}
            lists = {key: entry for key, entry in after.lists.items() if before.lists.get(key) != entry}
            with self._change(*accounts, *accounts.values(), *removed, *aliases, *lists):
                self._engine.rename(accounts, removed, aliases, lists)

    # ------------------------------------------------------------ app passwords

    def add_app_password(self, address: Address, name: str) -> str:
        """Add a random password for one program. It is returned now and never again."""
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise AccountError(f"an app password has a name of 1 to {MAX_NAME} printable characters")
        password = new_app_password()
        with self._existing("account", address):
            if self._app_password(address, name) is not None:
                raise AccountError(f"{address} already has an app password {name}")
            with self._change(address):
                added = AppPassword(name, app_password_digest(password), self._now())
                self._engine.add_app_password(address.key, added)
        return password

    def revoke_app_password(self, address: Address, name: str) -> None:
        """Remove an app password."""
        with self._existing("account", address):
            if self._app_password(address, name) is None:
                raise AccountError(f"{address} has no app password {name}")
            with self._change(address):
                self._engine.remove_app_password(address.key, name)

    def used_app_password(self, address: Address, name: str, when: float) -> None:
        """Record the last use, to the minute. Does nothing if the app password has been revoked."""
        with self.changing:
            found = self._app_password(address, name)
            if found is not None and when - found.used >= USED_STEP:
                with self._change(address):
                    self._engine.record_app_password_use(address.key, name, when)

    def _app_password(self, address: Address, name: str) -> AppPassword | None:
        account = self._engine.account(address.key)
        if account is None:
            return None
        return next((each for each in account.app_passwords if each.name == name), None)

    # ------------------------------------------------------------ aliases and lists

    def set_alias(self, address: Address, to: Sequence[Address], replace: bool = False) -> None:
        """Add an alias with at least one target, or with ``replace`` replace an existing alias."""
        with self.changing:
            if not (replace and self.kind_of(address) == "alias"):
                self.require_free(address)
            with self._change(address):
                self._engine.put_alias(address, _distinct(to))

    def remove_alias(self, address: Address) -> None:
        """Remove an alias."""
        with self._existing("alias", address), self._change(address):
            self._engine.remove_alias(address.key)

    def set_list(self, address: Address, entry: StoredList) -> None:
        """Add a mailing list with at least one member."""
        with self.changing:
            self.require_free(address)
            self._put_list(address, entry.members, entry.owner)

    def remove_list(self, address: Address) -> None:
        """Remove a mailing list."""
        with self._existing("list", address), self._change(address):
            self._engine.remove_list(address.key)

    def join(self, address: Address, members: Iterable[Address]) -> None:
        """Add members to a list. Existing members stay as they are."""
        with self._existing("list", address):
            entry = self.lists()[address.key]
            self._put_list(address, [*entry.members, *members], entry.owner)

    def leave(self, address: Address, members: Iterable[Address]) -> None:
        """Remove members from a list, which must keep at least one."""
        gone = {member.key: member for member in members}
        with self._existing("list", address):
            entry = self.lists()[address.key]
            left = [member for member in entry.members if member.key not in gone]
            strangers = gone.keys() - {member.key for member in entry.members}
            if strangers:
                names = ", ".join(str(gone[key]) for key in sorted(strangers))
                raise AccountError(f"not a member of {address}: {names}")
            if not left:
                raise AccountError(f"the list {address} needs at least one member; remove the list instead")
            self._put_list(address, left, entry.owner)

    def _put_list(self, address: Address, members: Iterable[Address], owner: Address | None) -> None:
        with self._change(address):
            self._engine.put_list(address, StoredList(_distinct(members), owner))

    # ------------------------------------------------------------ rules

    def require_free(self, address: Address) -> None:
        """Raise :class:`~mailserver.errors.AccountError` if there is an entry with this name."""
        kind = self.kind_of(address)
        if kind is not None:
            raise AccountError(f"{address} is already {KINDS[kind]}")

    def _require(self, kind: str, address: Address) -> None:
        if self.kind_of(address) != kind:
            raise _unknown(kind, address)

    @contextmanager
    def _existing(self, kind: str, address: Address) -> Iterator[None]:
        """Hold the lock, and require that the address is the name of such an entry."""
        with self.changing:
            self._require(kind, address)
            yield

    @contextmanager
    def _change(self, *addresses: Address) -> Iterator[None]:
        """Hold the lock while the entries with these names change."""
        with self.changing:
            # Before the change: a change that fails may have been made.
            self._changed.update(address.key for address in addresses)
            yield


def _unknown(kind: str, address: Address) -> AccountError:
    return AccountError(f"{address} is not {KINDS[kind]} in the account store")


def _distinct(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple({address.key: address for address in addresses}.values())
