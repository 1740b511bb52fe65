"""The spool in PostgreSQL. Its transactions include the messages that the store has staged."""

import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from zope.interface import implementer

from mailserver.errors import StorageError, StorageRefused
from mailserver.interfaces import IContent, QueuedMessage
from mailserver.mail.queued import HELD, QueuedRecipient
from mailserver.postgresql import bodies
from mailserver.postgresql.copying import copy_rows
from mailserver.postgresql.database import PostgreSQLDatabase
from mailserver.postgresql.errors import CommitUnknown, DatabaseConnection, os_errors
from mailserver.queue.entries import DamagedPart, Entry, InMemoryContent
from mailserver.queue.interfaces import ISpoolEngine, ISpoolSnapshot, ISpoolTransaction
from mailserver.queue.postgresql.contents import BodyContent
from mailserver.queue.postgresql.listing import PostgreSQLListing
from mailserver.queue.sql.values import encode, encode_handling, encode_history, name_of

SpoolRow = tuple[Any, ...]

IN_ROW = 64 * 1024  # octets; a new message up to here stands in its row
NUMBERS = 1 << 32  # of rows, for one start
SWEPT = 500  # bodies that are looked at together

_ENTRY = ("int8", "text", "float8", "text", "int8", "text", "bytea")
_QUEUED = ("int8", "text", "float8", "text", "int8", "text", "int8", "text", "text", "bytea", "text")
_RECIPIENT = (
    "int8", "int4", "text", "text", "text", "text", "bytea", "int4", "float8", "text", "text", "text", "int4",
    "int4", "float8", "int8",
)  # fmt: skip
_ATTEMPT = (
    "UPDATE recipient SET attempts = %s,"
    f" next = CASE WHEN next >= {HELD} THEN next ELSE %s END, history = %s, warned = %s, owner = NULL"
    " WHERE seq = %s AND number = %s"
)
_FORGET = (
    "DELETE FROM recipient USING unnest(%s::bigint[], %s::int[]) AS gone(seq, number)"
    " WHERE recipient.seq = gone.seq AND recipient.number = gone.number"
)
_DELETE = (
    "WITH gone AS (DELETE FROM queued WHERE seq = ANY(%s){} RETURNING content)"
    " DELETE FROM body USING gone WHERE body.id = gone.content"
)
_FORGET_MESSAGES = _DELETE.format(" AND NOT EXISTS (SELECT FROM recipient WHERE recipient.seq = queued.seq)")
_REMOVE_MESSAGES = _DELETE.format("")
_FREE = (
    " AND (owner IS NULL OR owner = {0}"
    " OR NOT EXISTS (SELECT FROM lease WHERE fence = owner AND until > now()))"
)
_CLAIM = (
    "WITH chosen AS (SELECT seq, number FROM recipient WHERE destination = %s AND seq = ANY(%s)"
    " AND next <= %s{} FOR UPDATE SKIP LOCKED),"
    " claimed AS (UPDATE recipient SET owner = %s FROM chosen"
    " WHERE recipient.seq = chosen.seq AND recipient.number = chosen.number RETURNING recipient.seq)"
    " SELECT DISTINCT seq FROM claimed"
)
_LOCK = "SELECT owner FROM recipient WHERE seq = %s AND number = ANY(%s) ORDER BY number FOR UPDATE"
_LIVE = "SELECT FROM lease WHERE fence = ANY(%s) AND until > now()"
_BRING_FORWARD = (
    "UPDATE recipient SET next = greatest(%(latest)s, release)"
    f" WHERE next > greatest(%(latest)s, release) AND next < {HELD}"
)


@implementer(ISpoolEngine)
class PostgreSQLSpool(PostgreSQLListing):
    """The spool of a database."""

    def __init__(self, database: PostgreSQLDatabase) -> None:
        super().__init__(database.connections)
        self._database = database
        self._is_open = False
        # Messages of commits with an unknown outcome. The next commit of the writer removes them.
        self._doubtful: tuple[int, ...] = ()

    def open(self) -> int:
        """See :class:`ISpoolEngine`. The numbers of rows differ from those of all other starts."""
        self._database.open()
        self._is_open = True
        self.free = _FREE.format(self._database.fence)
        ((number,),) = self._query("SELECT nextval('spool_start')")
        return int(number) * NUMBERS

    def close(self) -> None:
        """See :class:`ISpoolEngine`."""
        if self._is_open:
            self._is_open = False
            self._database.close()

    def begin(self) -> "PostgreSQLTransaction":
        """See :class:`ISpoolEngine`."""
        self._database.group.take_over()
        return PostgreSQLTransaction(self._database, self._doubt)

    def _doubt(self, numbers: Collection[int]) -> None:
        self._doubtful = (*self._doubtful, *numbers)

    def next_due(self, destination: str, busy: Collection[int]) -> float | None:
        """See :class:`ISpoolEngine`. Of messages with an unknown outcome nobody is tried."""
        return super().next_due(destination, (*busy, *self._doubtful))

    def due_messages(self, destination: str, by: float, limit: int, busy: Collection[int]) -> list[int]:
        """See :class:`ISpoolEngine`. The recipients belong to this server until an attempt is recorded."""
        found = super().due_messages(destination, by, limit, (*busy, *self._doubtful))
        if not found:
            return []
        values = (destination, found, by, self._database.fence)
        rows = self.connections.run(lambda each: each.execute(_CLAIM.format(self.free), values).fetchall())
        claimed = {seq for (seq,) in rows}
        return [seq for seq in found if seq in claimed]

    def bring_forward(self, latest: float) -> None:
        """See :class:`ISpoolEngine`."""
        self.connections.run(lambda each: each.execute(_BRING_FORWARD, {"latest": latest}))

    def sweep(self, go_on: Callable[[], bool]) -> int:
        """See :class:`ISpoolEngine`."""
        after: str | None = ""
        count = 0
        # The connections report a database that is gone, and the next start sweeps again.
        with suppress(OSError):
            while after is not None and go_on():
                after, removed = bodies.sweep(self.connections, after, SWEPT)
                count += removed
        return count

    def snapshot(self, mail: Path, stage: Path, go_on: Callable[[], bool]) -> ISpoolSnapshot:
        """See :class:`ISpoolEngine`."""
        raise StorageRefused('storage.engine is "postgresql": back up the database with its own tools')


@implementer(ISpoolTransaction)
class PostgreSQLTransaction:
    """Collects rows for one commit, and writes large contents at once. ``doubt`` gets the numbers of its new
    messages if the outcome of the commit is unknown."""

    def __init__(self, database: PostgreSQLDatabase, doubt: Callable[[Collection[int]], None]) -> None:
        self._database = database
        self._doubt = doubt
        self._statements: list[tuple[str, Sequence[Any]]] = []
        self._entries: list[SpoolRow] = []
        self._queued: list[SpoolRow] = []
        self._recipients: list[SpoolRow] = []
        # Numbers of messages, with those of recipients that leave the queue.
        self._gone: list[tuple[int, int]] = []

    def take(self, entry: Entry) -> None:
        """See :class:`ISpoolTransaction`."""
        self._entries.append(
            (entry.seq, entry.id, entry.received, entry.reverse_path, entry.octets, encode(entry.copies),
             entry.content)
        )  # fmt: skip

    def enqueue(self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> QueuedMessage:
        """See :class:`ISpoolTransaction`."""
        name, data = "", None
        content: InMemoryContent | BodyContent
        if message.octets <= IN_ROW:
            data = b"".join(message.content.chunks())
            checksum, content = zlib.crc32(data), InMemoryContent(data)
        else:
            name = name_of(message.id, message.seq)
            content = self._write(name, message.content)
            checksum = content.checksum
        handling = message.handling
        self._queued.append(
            (message.seq, message.id, message.received, message.reverse_path, message.octets, name, checksum,
             message.ret, message.envid, data, encode_handling(handling))
        )  # fmt: skip
        for each in recipients:
            self._recipients.append(
                (message.seq, each.number, each.destination, each.address, each.recipient, each.reverse_path,
                 each.head, each.attempts, each.next, encode_history(each.history), each.notify, each.orcpt,
                 int(each.warned), handling.priority, handling.release, self._database.fence)
            )  # fmt: skip
        return attrs.evolve(message, content=content)

    def _write(self, name: str, content: IContent) -> BodyContent:
        octets = checksum = 0

        def counted() -> Generator[bytes, None, None]:
            nonlocal octets, checksum
            for chunk in content.chunks():
                octets += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
                yield chunk

        connection = self._database.group.begin()
        with os_errors():
            bodies.write(connection, name, counted())
        return BodyContent(self._database.connections, name, octets, checksum)

    def record_attempt(
        self, message: QueuedMessage, left: Iterable[QueuedRecipient], gone: Iterable[QueuedRecipient]
    ) -> None:
        """See :class:`ISpoolTransaction`. Raises :class:`~mailserver.errors.StorageError` if another server
        tries one of the recipients now."""
        left, gone = list(left), list(gone)
        self._require_free(message.seq, [each.number for each in (*left, *gone)])
        for each in left:
            self._add(
                _ATTEMPT,
                each.attempts, each.next, encode_history(each.history), int(each.warned), message.seq,
                each.number,
            )  # fmt: skip
        self._gone += [(message.seq, each.number) for each in gone]

    def _require_free(self, seq: int, numbers: list[int]) -> None:
        fence = self._database.fence
        with os_errors():
            connection = self._database.group.begin()
            rows = connection.execute(_LOCK, (seq, numbers)).fetchall()
            others = [owner for (owner,) in rows if owner not in (None, fence)]
            if others and connection.execute(_LIVE, (others,)).fetchone() is not None:
                raise StorageError("another server tries the message now")

    def reschedule(self, seq: int, numbers: Collection[int], when: float) -> None:
        """See :class:`ISpoolTransaction`."""
        query = "UPDATE recipient SET next = %s WHERE seq = %s AND number = ANY(%s)"
        self._add(query, when, seq, list(numbers))

    def retire(self, numbers: Collection[int]) -> None:
        """See :class:`ISpoolTransaction`."""
        self._add("DELETE FROM entry WHERE seq = ANY(%s)", list(numbers))

    def remove(self, numbers: Collection[int]) -> None:
        """See :class:`ISpoolTransaction`."""
        self.retire(numbers)
        self._add("DELETE FROM recipient WHERE seq = ANY(%s)", list(numbers))
        self._add(_REMOVE_MESSAGES, list(numbers))

    def drop(self, part: DamagedPart) -> None:
        """See :class:`ISpoolTransaction`."""
        match part.key:
            case ("entry",):
                self.retire([part.seq])
            case ("recipient", number, _):
                self._gone.append((part.seq, number))
            case ("queued", _):
                self._add("DELETE FROM recipient WHERE seq = %s", part.seq)
                self._add(_REMOVE_MESSAGES, [part.seq])

    def _add(self, statement: str, *values: Any) -> None:
        self._statements.append((statement, values))

    def commit(self) -> None:
        """See :class:`ISpoolTransaction`."""
        group = self._database.group
        tables = (
            ("entry", _ENTRY, self._entries),
            ("queued", _QUEUED, self._queued),
            ("recipient", _RECIPIENT, self._recipients),
        )
        if self._statements or self._gone or any(rows for _, _, rows in tables):
            connection = group.begin()
            try:
                with os_errors():
                    for statement, values in self._statements:
                        connection.execute(statement, values)
                    for table, types, rows in tables:
                        if rows:
                            copy_rows(connection, table, types, rows)
                    self._forget(connection)
            except BaseException:
                group.rollback()
                raise
        try:
            group.commit()
        except CommitUnknown:
            self._doubt([row[0] for row in self._queued])
            raise

    def _forget(self, connection: DatabaseConnection) -> None:
        if self._gone:
            numbers = [seq for seq, _ in self._gone]
            connection.execute(_FORGET, (numbers, [number for _, number in self._gone]))
            connection.execute(_FORGET_MESSAGES, (list(set(numbers)),))
