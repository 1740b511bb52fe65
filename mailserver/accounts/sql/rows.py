"""Reads the entries of the account store from its tables."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from mailserver.accounts.directory import Account, AppPassword
from mailserver.accounts.entries import KINDS, StoredList
from mailserver.accounts.passwords import StoredPassword
from mailserver.durable.calls import numbered
from mailserver.errors import AccountError, storage_errors
from mailserver.mail.address import Address
from mailserver.sasl.steps import ScramKeys

T = TypeVar("T")

StoredRow = tuple[str, tuple[Any, ...]]
"""The name of a table, and a row of it."""

_TABLES = {
    "account": "key, address, password, secret, disabled",
    "scram": "account, hash, salt, iterations, stored_key, server_key",
    "app_password": "account, name, digest, made, used",
    "alias": "key, address, targets",
    "list": "key, address, owner, members",
}


class AccountRows:
    """The reading half of an engine. ``rows`` runs a query in the style of SQLite on a database, of which
    ``place`` is the name in errors."""

    def __init__(self, place: Path | str, rows: Callable[..., Sequence[tuple[Any, ...]]]) -> None:
        self._place = place
        self._rows = rows

    def accounts(self) -> Mapping[Address, Account]:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        return self._accounts_of()

    def account(self, key: Address) -> Account | None:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        return self._accounts_of(key).get(key)

    def _accounts_of(self, only: Address | None = None) -> Mapping[Address, Account]:
        scram: dict[str, dict[str, ScramKeys]] = {}
        app_passwords: dict[str, list[AppPassword]] = {}
        with storage_errors(self._place):
            for account, hash_name, *keys in self._some(
                "SELECT account, hash, salt, iterations, stored_key, server_key FROM scram", "account", only
            ):
                scram.setdefault(account, {})[hash_name] = ScramKeys(*keys)
            for account, *columns in self._some(
                "SELECT account, name, digest, made, used FROM app_password", "account, name", only
            ):
                app_passwords.setdefault(account, []).append(AppPassword(*columns))
        return self._by_key(
            "SELECT key, address, password, secret, disabled FROM account",
            lambda key, *row: _account(row, scram.get(key, {}), app_passwords.get(key, ())),
            only,
        )

    def addresses(self) -> Sequence[Address]:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        found = self._by_key("SELECT key, address FROM account", lambda key, text: _address(text))
        return list(found.values())

    def aliases(self) -> Mapping[Address, tuple[Address, ...]]:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        return self._aliases_of()

    def alias(self, key: Address) -> tuple[Address, ...] | None:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        return self._aliases_of(key).get(key)

    def _aliases_of(self, only: Address | None = None) -> Mapping[Address, tuple[Address, ...]]:
        return self._by_key("SELECT key, targets FROM alias", lambda key, targets: _decoded(targets), only)

    def lists(self) -> Mapping[Address, StoredList]:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        return self._lists_of()

    def mailing_list(self, key: Address) -> StoredList | None:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        return self._lists_of(key).get(key)

    def _lists_of(self, only: Address | None = None) -> Mapping[Address, StoredList]:
        return self._by_key(
            "SELECT key, owner, members FROM list",
            lambda key, owner, members: StoredList(
                _decoded(members), _address(owner) if owner is not None else None
            ),
            only,
        )

    def keys(self) -> Sequence[Address]:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        query = " UNION ALL ".join(f"SELECT key FROM {kind}" for kind in KINDS)
        with storage_errors(self._place):
            return [Address.parse(key) for (key,) in self._rows(query)]

    def kind_of(self, key: Address) -> str | None:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        query = " UNION ALL ".join(f"SELECT '{kind}' FROM {kind} WHERE key = ?1" for kind in KINDS)
        with storage_errors(self._place):
            found = self._rows(query, numbered(str(key)))
        return found[0][0] if found else None

    def entries(self) -> Mapping[str, Sequence[StoredRow]]:
        """All rows of all entries by key, to be copied to another database, or compared with it."""
        found: dict[str, list[StoredRow]] = {}
        with storage_errors(self._place):
            for table, columns in _TABLES.items():
                for row in self._rows(f"SELECT {columns} FROM {table} ORDER BY 1, 2"):
                    if table == "account":
                        row = (*row[:4], bool(row[4]))
                    found.setdefault(row[0], []).append((table, tuple(row)))
        return found

    def _some(self, query: str, order: str, only: Address | None) -> Sequence[tuple[Any, ...]]:
        """The rows of a query, or those of one key, which is the first column of the order."""
        if only is None:
            return self._rows(f"{query} ORDER BY {order}")
        return self._rows(f"{query} WHERE {order.partition(',')[0]} = ? ORDER BY {order}", (str(only),))

    def _by_key(self, query: str, value: Callable[..., T], only: Address | None = None) -> dict[Address, T]:
        """Values by the key in the first column: all, or the one of ``only``."""
        found = {}
        with storage_errors(self._place):
            for key, *row in self._some(query, "key", only):
                try:
                    found[_parsed(key)] = value(key, *row)
                except (ValueError, TypeError, AccountError) as error:
                    raise ValueError(f"the row of {key} is damaged: {error}") from error
        return found


def encode(addresses: Iterable[Address]) -> str:
    """Addresses as a JSON array."""
    return json.dumps([str(address) for address in addresses])


# These raise ValueError if the engine has not written the value.


def _account(
    row: Sequence[Any], scram: Mapping[str, ScramKeys], app_passwords: Iterable[AppPassword]
) -> Account:
    address, password, secret, disabled = row
    return Account(
        address=_address(address),
        password=StoredPassword.read(_text(password)) if password is not None else None,
        scram=scram,
        secret=_text(secret) if secret is not None else None,
        app_passwords=tuple(app_passwords),
        disabled=bool(disabled),
        stored=True,
    )


def _decoded(addresses: Any) -> tuple[Address, ...]:
    found = json.loads(_text(addresses))
    if not isinstance(found, list) or not found:
        raise ValueError("not a JSON array of addresses")
    return tuple(map(_address, found))


def _address(value: Any) -> Address:
    return _parsed(_text(value))


@lru_cache(maxsize=1)
def _parsed(text: str) -> Address:
    # The address of a row is mostly the same text as its key.
    return Address.parse(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a value is not a text")
    return value
