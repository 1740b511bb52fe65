"""Makes the spool of a stopped server one of the older version 1: its next start must migrate it."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from mailserver.durable.calls import SystemCalls

_QUEUED = "seq, id, received, reverse_path, octets, content, checksum, ret, envid"
_RECIPIENT = (
    "seq, number, destination, address, recipient, reverse_path, head, attempts, next, history, notify, orcpt"
)
STATEMENTS: Sequence[tuple[str, Sequence[str]]] = [
    (statement, ())
    for statement in (
        "ALTER TABLE queued RENAME TO newer_queued",
        "ALTER TABLE recipient RENAME TO newer_recipient",
        "CREATE TABLE queued (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, received REAL NOT NULL,"
        " reverse_path TEXT NOT NULL, octets INTEGER NOT NULL, content TEXT NOT NULL,"
        " checksum INTEGER NOT NULL, ret TEXT NOT NULL, envid TEXT NOT NULL, next REAL NOT NULL)",
        "CREATE TABLE recipient (seq INTEGER NOT NULL, number INTEGER NOT NULL, destination TEXT NOT NULL,"
        " address TEXT NOT NULL, recipient TEXT NOT NULL, reverse_path TEXT NOT NULL, head BLOB NOT NULL,"
        " attempts INTEGER NOT NULL, next REAL NOT NULL, history TEXT NOT NULL, notify TEXT NOT NULL,"
        " orcpt TEXT NOT NULL, PRIMARY KEY (seq, number)) WITHOUT ROWID",
        f"INSERT INTO queued SELECT {_QUEUED}, 0.0 FROM newer_queued WHERE content <> ''",
        f"INSERT INTO recipient SELECT {_RECIPIENT} FROM newer_recipient",
        "DROP TABLE newer_queued",
        "DROP TABLE newer_recipient",
        "CREATE INDEX queued_next ON queued (next)",
        "CREATE INDEX recipient_due ON recipient (destination, next)",
        "PRAGMA user_version = 1",
    )
]
"""Contents that stand in the database are lost: version 1 had all of them in files."""


def make_older(spool: Path, calls: SystemCalls | None = None) -> None:
    """Change the database in this folder."""
    with closing(sqlite3.connect(spool / "queue.db", isolation_level=None)) as database:
        (calls or SystemCalls()).commit(database, STATEMENTS)
