"""The tables of the spool, and the migration from older versions.

    entry       a delivered message whose copies may not be synced yet; exists for about a second
    queued      a message with recipients that wait for an attempt; ``data`` is its content, or ``content``
                the name of the file with it; ``checksum`` is the CRC-32 of the content
    recipient   one recipient of a queued message; due at ``next``, among others by ``priority``, and held by
                its sender until ``release``

``PRAGMA user_version`` is the version. Version 0 had the tables message and waiting, and stored the content
of a waiting message in its row. Version 1 had the earliest ``next`` of the recipients in queued. Version 2
had no ``handling``, ``priority`` and ``release``. Times are in seconds since the epoch. ``copies`` and
``history`` are JSON, ``handling`` too unless it is "".
"""

import errno
import json
import zlib
from collections.abc import Iterator

from mailserver.durable.calls import Statement
from mailserver.durable.database import Database
from mailserver.mail.queued import LOCAL
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.sql.values import name_of
from mailserver.queue.sqlite.contents import Contents

VERSION = 3

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entry (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, received REAL NOT NULL,"
    " reverse_path TEXT NOT NULL, octets INTEGER NOT NULL, copies TEXT NOT NULL, content BLOB)",
    "CREATE TABLE IF NOT EXISTS queued (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, received REAL NOT NULL,"
    " reverse_path TEXT NOT NULL, octets INTEGER NOT NULL, content TEXT NOT NULL, checksum INTEGER NOT NULL,"
    " ret TEXT NOT NULL, envid TEXT NOT NULL, data BLOB, handling TEXT NOT NULL DEFAULT '')",
    "CREATE TABLE IF NOT EXISTS recipient (seq INTEGER NOT NULL, number INTEGER NOT NULL,"
    " destination TEXT NOT NULL, address TEXT NOT NULL, recipient TEXT NOT NULL, reverse_path TEXT NOT NULL,"
    " head BLOB NOT NULL, attempts INTEGER NOT NULL, next REAL NOT NULL, history TEXT NOT NULL,"
    " notify TEXT NOT NULL, orcpt TEXT NOT NULL, warned INTEGER NOT NULL DEFAULT 0,"
    " priority INTEGER NOT NULL DEFAULT 0, release REAL NOT NULL DEFAULT 0,"
    " PRIMARY KEY (seq, number)) WITHOUT ROWID",
)

_FROM_VERSION_1: tuple[Statement, ...] = (
    ("DROP INDEX queued_next", ()),
    ("ALTER TABLE queued DROP COLUMN next", ()),
    ("ALTER TABLE queued ADD COLUMN data BLOB", ()),
    ("ALTER TABLE recipient ADD COLUMN warned INTEGER NOT NULL DEFAULT 0", ()),
)

_FROM_VERSION_2: tuple[Statement, ...] = (
    ("ALTER TABLE queued ADD COLUMN handling TEXT NOT NULL DEFAULT ''", ()),
    ("ALTER TABLE recipient ADD COLUMN priority INTEGER NOT NULL DEFAULT 0", ()),
    ("ALTER TABLE recipient ADD COLUMN release REAL NOT NULL DEFAULT 0", ()),
)

# The columns of the first one differ between the versions.
_INDEXES: tuple[Statement, ...] = (
    ("DROP INDEX IF EXISTS recipient_due", ()),
    ("CREATE INDEX recipient_due ON recipient (destination, priority DESC, next)", ()),
    (
        "CREATE INDEX recipient_ranked ON recipient (destination, priority DESC, next) WHERE priority <> 0",
        (),
    ),
)

_FULL = "4.2.2"  # the only reason to wait in version 0


def migrate(database: Database, contents: Contents) -> None:
    """Convert the database to :data:`VERSION`. Raises ``OSError``.

    The files are written and synced before the one transaction that refers to them. A crash before the
    transaction leaves the old tables; the next start writes the files again.
    """
    ((version,),) = database.rows("PRAGMA user_version")
    if version > VERSION:
        raise OSError(
            errno.ENOTSUP, f"the spool was written by a newer version of mailserver (format {version})"
        )
    if version == VERSION:
        return
    statements: list[Statement] = []
    if version == 1:
        statements += _FROM_VERSION_1
    if version in (1, 2):
        statements += _FROM_VERSION_2
    elif database.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'message'"):
        statements += _from_version_0(database, contents)
    database.commit([*statements, *_INDEXES, (f"PRAGMA user_version = {VERSION}", ())])


def _from_version_0(database: Database, contents: Contents) -> Iterator[Statement]:
    yield (
        "INSERT INTO entry SELECT seq, id, received, reverse_path, octets, texts, content FROM message"
        " WHERE texts <> '[]'",
        (),
    )
    written = False
    for (seq,) in database.rows("SELECT DISTINCT seq FROM waiting"):
        for id_, octets, content, checksum in database.rows(
            "SELECT id, octets, content, checksum FROM message WHERE seq = ?", (seq,)
        ):
            name = ""
            if isinstance(content, bytes) and isinstance(id_, str):
                name = name_of(id_, seq)
                contents.remove(name)  # left by an interrupted migration
                contents.write(name, InMemoryContent(content))
                written = True
                checksum = zlib.crc32(content) if checksum is None else checksum
            yield (
                "INSERT INTO queued SELECT seq, id, received, reverse_path, ?, ?, ?, '', '', NULL, ''"
                " FROM message WHERE seq = ?",
                (octets, name, checksum or 0, seq),
            )
    if written:
        contents.sync()
    for seq, number, received, error in database.rows(
        "SELECT seq, number, coalesce((SELECT received FROM message WHERE seq = waiting.seq), 0), error"
        " FROM waiting"
    ):
        history = json.dumps([(received, _FULL, error)]) if isinstance(error, str) else error
        yield (
            "INSERT INTO recipient SELECT seq, number, ?, mailbox, recipient, reverse_path, head, attempts,"
            " next, ?, '', '', 0, 0, 0.0 FROM waiting WHERE seq = ? AND number = ?",
            (LOCAL, history, seq, number),
        )
    yield "DROP TABLE message", ()
    yield "DROP TABLE waiting", ()
