"""The tables of the account store.

    account        one row for each; ``password`` is the text of a :class:`StoredPassword`, or NULL
    scram          the SCRAM keys of an account, one row for each hash
    app_password   the app passwords of an account
    alias, list    ``targets`` and ``members`` are JSON arrays of addresses
    setting        values of the file itself: ``dummy_key``

``key`` is the key of the row's address, and ``account`` that of its account. Times are in seconds since the
epoch. ``PRAGMA user_version`` is the version of this schema.
"""

import secrets

from mailserver.accounts.interfaces import DUMMY_KEY_SIZE

VERSION = 1

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


def schema() -> tuple[str, ...]:
    """The statements that create the tables. They leave existing tables as they are."""
    key = f"INSERT OR IGNORE INTO setting VALUES ('dummy_key', x'{secrets.token_hex(DUMMY_KEY_SIZE)}')"
    return (*_TABLES, key, f"PRAGMA user_version = {VERSION}")
