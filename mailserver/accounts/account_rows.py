"""What the account store keeps, as rows of its database.

    account        one for each; ``password`` as :class:`StoredPassword` has it as text, NULL for none
    scram          the keys of an account, one for each hash
    app_password   those of an account
    alias, list    ``targets`` and ``members`` are JSON arrays of addresses
    setting        what the file itself has: ``dummy_key``

A ``key`` is the address by which the row is found, ``account`` that of its account. Times are in
seconds since the epoch. ``PRAGMA user_version`` is the version of this schema.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from mailserver.accounts.credentials import StoredCredentials
from mailserver.accounts.directory import Account, AppPassword
from mailserver.accounts.passwords import StoredPassword
from mailserver.durable.calls import Statement
from mailserver.mail.address import Address
from mailserver.sasl.steps import ScramKeys

VERSION = 1
DUMMY_KEY = 32  # octets
KINDS = {"account": "an account", "alias": "an alias", "list": "a mailing list"}
"""The tables whose keys are names here, each name once among them all."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS account (key TEXT PRIMARY KEY, address TEXT NOT NULL,"
    " password TEXT, secret TEXT, disabled INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS scram (account TEXT NOT NULL, hash TEXT NOT NULL, salt BLOB NOT NULL,"
    " iterations INTEGER NOT NULL, stored_key BLOB NOT NULL, server_key BLOB NOT NULL,"
    " PRIMARY KEY (account, hash)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS app_password (account TEXT NOT NULL, name TEXT NOT NULL,"
    " digest BLOB NOT NULL, made REAL NOT NULL, used REAL NOT NULL,"
    " PRIMARY KEY (account, name)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS alias (key TEXT PRIMARY KEY, address TEXT NOT NULL,"
    " targets TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS list (key TEXT PRIMARY KEY, address TEXT NOT NULL, owner TEXT,"
    " members TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)


@attrs.frozen
class StoredList:
    """``members`` get the mail, ``owner`` what bounces; without one the postmaster does."""

    members: tuple[Address, ...]
    owner: Address | None = None


@attrs.frozen
class StoredNames:
    """Everything that has a name in the account store."""

    accounts: tuple[Address, ...] = ()
    aliases: Mapping[Address, tuple[Address, ...]] = attrs.field(factory=dict)
    lists: Mapping[Address, StoredList] = attrs.field(factory=dict)


@attrs.frozen
class AccountChanges:
    """What has these keys now; None: nothing of that kind has."""

    accounts: Mapping[Address, Account | None]
    aliases: Mapping[Address, tuple[Address, ...] | None]
    lists: Mapping[Address, StoredList | None]


def schema() -> tuple[str, ...]:
    """The statements that make a new file, and leave one that is there as it is."""
    key = f"INSERT OR IGNORE INTO setting VALUES ('dummy_key', x'{secrets.token_hex(DUMMY_KEY)}')"
    return (*_TABLES, key, f"PRAGMA user_version = {VERSION}")


def name_of(address: Address) -> str:
    """The key of the address."""
    return str(address.key)


# ------------------------------------------------------------ changes


def insert_account(address: Address, found: StoredCredentials) -> Iterator[Statement]:
    """A new account."""
    yield "INSERT INTO account VALUES (?, ?, NULL, NULL, 0)", (name_of(address), str(address))
    yield from set_credentials(address, found)


def set_credentials(address: Address, found: StoredCredentials) -> Iterator[Statement]:
    """All that the account's password is proven by; nothing of an earlier one stays."""
    key = name_of(address)
    password = found.password.text if found.password is not None else None
    yield "UPDATE account SET password = ?, secret = ? WHERE key = ?", (password, found.secret, key)
    yield "DELETE FROM scram WHERE account = ?", (key,)
    for hash_name, keys in found.scram.items():
        row = (key, hash_name, keys.salt, keys.iterations, keys.stored_key, keys.server_key)
        yield "INSERT INTO scram VALUES (?, ?, ?, ?, ?, ?)", row


def remove_account(address: Address) -> Iterator[Statement]:
    """The account with all that it has."""
    for table in ("scram", "app_password"):
        yield f"DELETE FROM {table} WHERE account = ?", (name_of(address),)
    yield "DELETE FROM account WHERE key = ?", (name_of(address),)


def put_alias(address: Address, to: Sequence[Address]) -> Statement:
    """An alias, in the place of the one that is there."""
    return "INSERT OR REPLACE INTO alias VALUES (?, ?, ?)", (name_of(address), str(address), _encode(to))


def put_list(address: Address, kept: StoredList) -> Statement:
    """A mailing list, in the place of the one that is there."""
    owner = str(kept.owner) if kept.owner is not None else None
    row = (name_of(address), str(address), owner, _encode(kept.members))
    return "INSERT OR REPLACE INTO list VALUES (?, ?, ?, ?)", row


def _encode(addresses: Iterable[Address]) -> str:
    return json.dumps([str(address) for address in addresses])


# ------------------------------------------------------------ reading: ValueError for what nobody here wrote


def account(
    row: Sequence[Any], scram: Mapping[str, ScramKeys], app_passwords: Iterable[AppPassword]
) -> Account:
    """From address, password, secret, disabled."""
    address, password, secret, disabled = row
    return Account(
        address=Address.parse(text(address)),
        password=StoredPassword.read(text(password)) if password is not None else None,
        scram=scram,
        secret=text(secret) if secret is not None else None,
        app_passwords=tuple(app_passwords),
        disabled=bool(disabled),
        kept=True,
    )


def decode(addresses: Any) -> tuple[Address, ...]:
    """From JSON."""
    found = json.loads(text(addresses))
    if not isinstance(found, list) or not found:
        raise ValueError("not the form of addresses")
    return tuple(Address.parse(text(address)) for address in found)


def kept_list(owner: Any, members: Any) -> StoredList:
    """From owner and members."""
    return StoredList(decode(members), Address.parse(text(owner)) if owner is not None else None)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is wanted")
    return value
