"""The engine of the account store for a server without a disk: entries live as long as the process."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from zope.interface import implementer

from mailserver.accounts.credentials import StoredCredentials
from mailserver.accounts.directory import Account, AppPassword
from mailserver.accounts.entries import StoredList
from mailserver.accounts.interfaces import DUMMY_KEY_SIZE, IAccountEngine
from mailserver.accounts.passwords import StoredPassword
from mailserver.mail.address import Address

T = TypeVar("T")


@implementer(IAccountEngine)
class MemoryAccounts:
    """Three dictionaries by key."""

    def __init__(self) -> None:
        self.dummy_key = secrets.token_bytes(DUMMY_KEY_SIZE)
        self._accounts: dict[Address, Account] = {}
        self._aliases: dict[Address, tuple[Address, ...]] = {}
        self._lists: dict[Address, StoredList] = {}

    def close(self) -> None:
        """See :class:`IAccountEngine`."""

    def revision(self) -> int:
        """See :class:`IAccountEngine`. Nobody else changes it."""
        return 0

    # ------------------------------------------------------------ reading

    def accounts(self) -> Mapping[Address, Account]:
        """See :class:`IAccountEngine`."""
        return _sorted(self._accounts)

    def account(self, key: Address) -> Account | None:
        """See :class:`IAccountEngine`."""
        return self._accounts.get(key)

    def addresses(self) -> Sequence[Address]:
        """See :class:`IAccountEngine`."""
        return [account.address for account in self.accounts().values()]

    def aliases(self) -> Mapping[Address, tuple[Address, ...]]:
        """See :class:`IAccountEngine`."""
        return _sorted(self._aliases)

    def alias(self, key: Address) -> tuple[Address, ...] | None:
        """See :class:`IAccountEngine`."""
        return self._aliases.get(key)

    def lists(self) -> Mapping[Address, StoredList]:
        """See :class:`IAccountEngine`."""
        return _sorted(self._lists)

    def mailing_list(self, key: Address) -> StoredList | None:
        """See :class:`IAccountEngine`."""
        return self._lists.get(key)

    def keys(self) -> Sequence[Address]:
        """See :class:`IAccountEngine`."""
        return [*self._accounts, *self._aliases, *self._lists]

    def kind_of(self, key: Address) -> str | None:
        """See :class:`IAccountEngine`."""
        tables: dict[str, Mapping[Address, object]] = {
            "account": self._accounts,
            "alias": self._aliases,
            "list": self._lists,
        }
        return next((kind for kind, table in tables.items() if key in table), None)

    # ------------------------------------------------------------ changes

    def put_credentials(self, found: Mapping[Address, StoredCredentials]) -> None:
        """See :class:`IAccountEngine`."""
        for address, each in found.items():
            account = self._accounts.get(address.key) or Account(address, None, stored=True)
            self._accounts[address.key] = attrs.evolve(
                account, password=each.password, scram=each.scram, secret=each.secret
            )

    def replace_hash(self, key: Address, old: StoredPassword, new: StoredPassword) -> None:
        """See :class:`IAccountEngine`."""
        account = self._accounts.get(key)
        if account is not None and account.password == old:
            self._change(key, password=new)

    def set_disabled(self, key: Address, disabled: bool) -> None:
        """See :class:`IAccountEngine`."""
        self._change(key, disabled=disabled)

    def remove_account(self, key: Address) -> None:
        """See :class:`IAccountEngine`."""
        self._accounts.pop(key, None)

    def rename(
        self,
        accounts: Mapping[Address, Address],
        removed: Collection[Address],
        aliases: Mapping[Address, Sequence[Address]],
        lists: Mapping[Address, StoredList],
    ) -> None:
        """See :class:`IAccountEngine`."""
        for key, address in accounts.items():
            if (account := self._accounts.pop(key, None)) is not None:
                self._accounts[address.key] = attrs.evolve(account, address=address)
        for key in removed:
            self.remove_alias(key)
            self.remove_list(key)
        for address, targets in aliases.items():
            self.put_alias(address, targets)
        for address, entry in lists.items():
            self.put_list(address, entry)

    def add_app_password(self, key: Address, app_password: AppPassword) -> None:
        """See :class:`IAccountEngine`."""
        self._put_app_passwords(key, {**self._app_passwords(key), app_password.name: app_password})

    def remove_app_password(self, key: Address, name: str) -> None:
        """See :class:`IAccountEngine`."""
        found = self._app_passwords(key)
        found.pop(name, None)
        self._put_app_passwords(key, found)

    def record_app_password_use(self, key: Address, name: str, when: float) -> None:
        """See :class:`IAccountEngine`."""
        found = self._app_passwords(key)
        if name in found:
            self._put_app_passwords(key, {**found, name: attrs.evolve(found[name], used=when)})

    def _app_passwords(self, key: Address) -> dict[str, AppPassword]:
        account = self._accounts.get(key)
        return {} if account is None else {each.name: each for each in account.app_passwords}

    def _put_app_passwords(self, key: Address, found: Mapping[str, AppPassword]) -> None:
        self._change(key, app_passwords=tuple(found[name] for name in sorted(found)))

    def _change(self, key: Address, **changes: Any) -> None:
        if key in self._accounts:
            self._accounts[key] = attrs.evolve(self._accounts[key], **changes)

    def put_alias(self, address: Address, targets: Sequence[Address]) -> None:
        """See :class:`IAccountEngine`."""
        self._aliases[address.key] = tuple(targets)

    def remove_alias(self, key: Address) -> None:
        """See :class:`IAccountEngine`."""
        self._aliases.pop(key, None)

    def put_list(self, address: Address, entry: StoredList) -> None:
        """See :class:`IAccountEngine`."""
        self._lists[address.key] = entry

    def remove_list(self, key: Address) -> None:
        """See :class:`IAccountEngine`."""
        self._lists.pop(key, None)


def _sorted(table: Mapping[Address, T]) -> dict[Address, T]:
    return {key: table[key] for key in sorted(table, key=str)}
