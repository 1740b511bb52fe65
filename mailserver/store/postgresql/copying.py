"""All mailboxes of a database, as a source and as a target of :mod:`mailserver.migration.engines`."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Protocol

from mailserver.errors import MessageDamaged, StorageError
from mailserver.mail.ids import new_id
from mailserver.mail.snapshot import Snapshot
from mailserver.postgresql import bodies
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import DatabaseConnection, os_errors
from mailserver.postgresql.transaction import BEGIN
from mailserver.store.content import sent_size, surrogate_size
from mailserver.store.postgresql import rows

_PATHS = "SELECT path FROM mailbox WHERE messages > 0 ORDER BY path"
_LIST = (
    "SELECT number, uid, message.octets, sent, surrogate, came, mailbox.id"
    " FROM mailbox JOIN message ON mailbox = mailbox.id WHERE path = %s ORDER BY number"
)
_MESSAGE = "SELECT head, body FROM message WHERE mailbox = %s AND number = %s"
_LAST = "SELECT last FROM mailbox WHERE path = %s"


class ForeignMessage(Protocol):
    """A message of another engine; see :class:`mailserver.migration.engines.CopiedMessage`."""

    @property
    def uid(self) -> str: ...
    @property
    def when(self) -> float: ...
    def chunks(self) -> Iterable[bytes]: ...


class DatabaseMailboxes:
    """The mailboxes of a database whose tables exist."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.problems: list[str] = []

    def paths(self) -> Sequence[str]:
        """See :class:`mailserver.migration.engines.SourceMailboxes`."""
        return self._connections.run(lambda each: [path for (path,) in each.execute(_PATHS)])

    def listed(self, path: str) -> "ListedRows":
        """See :class:`mailserver.migration.engines.SourceMailboxes`."""
        found = self._connections.run(lambda each: each.execute(_LIST, (path,)).fetchall())
        return ListedRows(self._connections, found)

    @contextmanager
    def adding(self, path: str) -> Iterator["RowsAddition"]:
        """See :class:`mailserver.migration.engines.TargetMailboxes`."""
        connection = self._connections.connect()
        try:
            with os_errors():
                rows.create(connection, [path])
                row = connection.execute(_LAST, (path,)).fetchone()
            assert row is not None
            yield RowsAddition(connection, path, row[0])
        finally:
            connection.close()  # which drops what is not committed


class ListedRows:
    """See :class:`mailserver.migration.engines.ListedMailbox`."""

    def __init__(self, connections: Connections, found: Sequence[tuple[Any, ...]]) -> None:
        self._connections = connections
        self._mailbox = found[0][6] if found else 0
        self._numbers: array[int] = array("Q", (row[0] for row in found))
        self._octets: array[int] = array("Q", (row[2] for row in found))
        surrogates = {index: row[4] for index, row in enumerate(found) if row[4] is not None}
        self.messages = Snapshot((row[1] for row in found), (row[3] for row in found), surrogates)
        self.whens = array("d", (row[5] for row in found))

    def octets(self, index: int) -> int:
        """See :class:`mailserver.migration.engines.ListedMailbox`."""
        return int(self._octets[index])

    def chunks(self, index: int) -> Iterator[bytes]:
        """See :class:`mailserver.migration.engines.ListedMailbox`."""
        key = (self._mailbox, self._numbers[index])
        row = self._connections.run(lambda each: each.execute(_MESSAGE, key, binary=True).fetchone())
        if row is None:
            raise StorageError("the message was removed meanwhile")
        head, body = row
        left = self._octets[index]
        try:
            for part in chain([head], bodies.read(self._connections, body)):
                left -= len(part)
                yield part
        except MessageDamaged as error:
            raise StorageError(str(error)) from error
        if left:
            raise StorageError(f"the body {body} does not have the size of the message")


class RowsAddition:
    """See :class:`mailserver.migration.engines.MailboxAddition`. ``last`` is the last number so far."""

    def __init__(self, connection: DatabaseConnection, path: str, last: int) -> None:
        self._connection = connection
        self._path = path
        self._last = last
        self._box: rows.MailboxRow | None = None
        self._bodies: list[tuple[str, bytes]] = []  # small ones
        self._messages: list[Sequence[object]] = []

    def add(self, message: ForeignMessage) -> None:
        """See :class:`mailserver.migration.engines.MailboxAddition`."""
        with os_errors():
            box = self._begun()
            body, measured = new_id(), _Measured(message.chunks())
            parts = bodies.parts(measured)
            if len(first := next(parts)) < bodies.PART:
                surrogate = None if measured.is_ascii else surrogate_size([first])
                self._bodies.append((body, first))
            else:
                with self._connection.transaction():
                    bodies.write(self._connection, body, chain([first], parts))
                    surrogate = None if measured.is_ascii else surrogate_size(message.chunks())
        number, octets = box.add(measured.octets), measured.octets
        sent = sent_size(octets, measured.ending)
        self._messages.append((box.id, number, message.uid, b"", body, octets, sent, surrogate, message.when))

    def _begun(self) -> rows.MailboxRow:
        if self._box is None:
            self._connection.execute(BEGIN)
            self._box = rows.lock(self._connection, [self._path])[self._path]
            if self._box.last != self._last:
                raise StorageError(f"another server delivers to the mailbox {self._path}")
        return self._box

    def commit(self) -> None:
        """See :class:`mailserver.migration.engines.MailboxAddition`."""
        if self._box is None:
            return
        with os_errors():
            rows.insert(self._connection, self._bodies, self._messages)
            rows.save(self._connection, [self._box])
            status = self._connection.execute("COMMIT").statusmessage
        if status != "COMMIT":
            raise StorageError(f"PostgreSQL: {status} instead of COMMIT")
        self._last = self._box.last
        self._box = None
        self._bodies, self._messages = [], []


class _Measured:
    """Passes octets on, and measures them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.octets = 0
        self.ending = b""
        self.is_ascii = True

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            yield chunk
            self.octets += len(chunk)
            self.ending = (self.ending + chunk[-2:])[-2:]
            self.is_ascii = self.is_ascii and chunk.isascii()
