"""Statements on mailboxes that several modules need. All of them raise ``psycopg.Error``.

Whoever changes the messages of mailboxes locks these first, in the order of their paths, and checks leases
last. So nobody waits in a circle, and the numbers of messages grow in the order in which they become visible.
"""

from collections.abc import Collection, Iterable, Sequence

import attrs

from mailserver.postgresql.copying import copy_rows
from mailserver.postgresql.errors import DatabaseConnection

_BODY = ("text", "int4", "bytea")
_MESSAGE = ("int8", "int8", "text", "bytea", "text", "int8", "int8", "int8", "float8")
_LOCK = "SELECT path, id, last, messages, octets FROM mailbox WHERE path = ANY(%s) ORDER BY path FOR UPDATE"
_CREATE = "INSERT INTO mailbox (path) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
_SAVE = (
    "UPDATE mailbox SET last = new.last, messages = new.messages, octets = new.octets"
    " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS new(id, last, messages, octets)"
    " WHERE mailbox.id = new.id"
)
_DELETE = "DELETE FROM message WHERE mailbox = %s AND number = ANY(%s) RETURNING octets, body"
# Two sessions that remove the last two copies at the same time leave the body to the sweep.
_DELETE_BODIES = (
    "DELETE FROM body WHERE id = ANY(%s) AND NOT EXISTS (SELECT FROM message WHERE message.body = body.id)"
)


@attrs.define(eq=False)
class MailboxRow:
    """A mailbox that the transaction has locked; see ``schema``."""

    path: str
    id: int
    last: int
    messages: int
    octets: int

    def add(self, octets: int) -> int:
        """Count one more message. Returns its number."""
        self.last += 1
        self.messages += 1
        self.octets += octets
        return self.last

    def take_back(self, octets: int, messages: int = 1) -> None:
        """Count messages no more. Their numbers are not used again."""
        self.messages -= messages
        self.octets -= octets


def lock(connection: DatabaseConnection, paths: Collection[str]) -> dict[str, MailboxRow]:
    """Lock those of the mailboxes that exist, by their paths."""
    rows = connection.execute(_LOCK, (list(paths),)).fetchall()
    boxes = [MailboxRow(*row) for row in rows]
    return {box.path: box for box in boxes}


def create(connection: DatabaseConnection, paths: Collection[str]) -> None:
    """Create mailboxes, outside of a transaction: a lock on a new row would be out of order."""
    connection.execute(_CREATE, (sorted(paths),))


def save(connection: DatabaseConnection, boxes: Collection[MailboxRow]) -> None:
    """Write the changed counters of locked mailboxes."""
    columns = [[getattr(box, name) for box in boxes] for name in ("id", "last", "messages", "octets")]
    connection.execute(_SAVE, columns)


def insert(
    connection: DatabaseConnection,
    bodies: Iterable[tuple[str, bytes]],
    messages: Iterable[Sequence[object]],
) -> None:
    """Add small bodies, each with its id, and messages with the values of their columns."""
    if parts := [(id, 0, data) for id, data in bodies]:
        copy_rows(connection, "body", _BODY, parts)
    copy_rows(connection, "message", _MESSAGE, messages)


def delete(connection: DatabaseConnection, box: MailboxRow, numbers: Sequence[int]) -> None:
    """Remove messages of a locked mailbox, and what nobody else has of them."""
    rows = connection.execute(_DELETE, (box.id, list(numbers))).fetchall()
    box.take_back(sum(octets for octets, _ in rows), len(rows))
    connection.execute(_DELETE_BODIES, ([body for _, body in rows],))
