"""Reads the messages of a listing by number, and removes them under the lease of a session."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial

import attrs
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mailserver.errors import MessageDamaged, MessageVanished, StorageError, storage_error
from mailserver.interfaces import IMailboxView, IMaildrop, IMessageReader, IStoredMessage
from mailserver.mail.snapshot import Snapshot
from mailserver.postgresql import bodies
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import DatabaseConnection
from mailserver.postgresql.leases import holds
from mailserver.postgresql.transaction import LIMITS
from mailserver.store.content import SMALL
from mailserver.store.postgresql import rows
from mailserver.store.postgresql.threads import QueryThreads

_LARGE = "SELECT head, body, octets FROM message WHERE mailbox = %s AND number = %s"
_SMALL = (
    "SELECT head, octets, data FROM message JOIN body ON body.id = body"
    " WHERE mailbox = %s AND number = %s ORDER BY part"
)
_CAME = "SELECT came FROM message WHERE mailbox = %s AND number = %s"
_BEFORE = "SELECT number FROM message WHERE mailbox = %s AND came < %s ORDER BY number"


@attrs.frozen(eq=False)
class MailboxListing:
    """The messages of a mailbox at one moment: its id, the numbers, and what clients see of them."""

    mailbox: int
    numbers: "array[int]"
    messages: Snapshot


@implementer(IMailboxView)
class PostgreSQLView:
    """The messages of a mailbox at the time of its listing."""

    def __init__(self, threads: QueryThreads, listed: MailboxListing) -> None:
        self.messages = listed.messages
        self._threads = threads
        self._listed = listed
        self._released = False

    def _key(self, index: int) -> tuple[int, int]:
        return self._listed.mailbox, self._listed.numbers[index]

    def read(self, index: int) -> "Deferred[bytes | IStoredMessage]":
        """See :meth:`~mailserver.interfaces.IMailboxView.read`."""
        if self._released:
            return fail(StorageError("the maildrop is released"))
        if self.messages.size(index) <= SMALL:
            return self._threads.query(partial(_read_small, key=self._key(index)))
        return self._threads.query(partial(self._find_large, key=self._key(index)))

    def _find_large(self, connection: DatabaseConnection, key: tuple[int, int]) -> IStoredMessage:
        row = connection.execute(_LARGE, key, binary=True).fetchone()
        if row is None:
            raise _vanished()
        return LargeMessage(self._threads.connections, *row)

    def arrived(self, index: int) -> "Deferred[float]":
        """See :meth:`~mailserver.interfaces.IMailboxView.arrived`."""
        return self._threads.query(partial(_arrived, key=self._key(index)))


@implementer(IMaildrop)
class PostgreSQLMaildrop(PostgreSQLView):
    """The maildrop of a session. ``path`` is the name of its lease, ``unlock`` releases it."""

    def __init__(
        self,
        threads: QueryThreads,
        listed: MailboxListing,
        path: str,
        fence: int,
        unlock: Callable[[], "Deferred[None]"],
    ) -> None:
        super().__init__(threads, listed)
        self._path = path
        self._fence = fence
        self._unlock = unlock
        self._removals = 0

    def arrived_before(self, when: float) -> "Deferred[Sequence[int]]":
        """See :meth:`~mailserver.interfaces.IMaildrop.arrived_before`."""
        return self._threads.query(partial(self._arrived_before, when=when))

    def _arrived_before(self, connection: DatabaseConnection, when: float) -> Sequence[int]:
        numbers = self._listed.numbers
        found = []
        for (number,) in connection.execute(_BEFORE, (self._listed.mailbox, when)):
            index = bisect_left(numbers, number)
            if index < len(numbers) and numbers[index] == number:  # not one that has come since
                found.append(index)
        return found

    def remove(self, indexes: Iterable[int]) -> "Deferred[frozenset[int]]":
        """See :meth:`~mailserver.interfaces.IMaildrop.remove`."""
        if self._released:
            return fail(StorageError("the maildrop is released"))
        return Deferred.fromCoroutine(self._remove([self._listed.numbers[index] for index in indexes]))

    async def _remove(self, numbers: Sequence[int]) -> frozenset[int]:
        self._removals += 1
        try:
            if numbers:
                await self._threads.query(partial(self._delete, numbers=numbers))
        finally:
            self._removals -= 1
            if self._released and not self._removals:
                self._unlock()
        return frozenset()

    def _delete(self, connection: DatabaseConnection, numbers: Sequence[int]) -> None:
        """Remove messages, in a thread. All or none: the transaction has the check of the fence."""
        with connection.transaction():
            connection.execute(LIMITS)
            box = rows.lock(connection, [self._path])[self._path]
            rows.delete(connection, box, numbers)
            rows.save(connection, [box])
            if not holds(connection, self._path, self._fence):
                raise StorageError("the lock of the mailbox was lost to another server")

    def release(self) -> "Deferred[None] | None":
        """See :meth:`~mailserver.interfaces.IMaildrop.release`. A running removal ends first."""
        if self._released:
            return None
        self._released = True
        return None if self._removals else self._unlock()


def _read_small(connection: DatabaseConnection, key: tuple[int, int]) -> bytes:
    found = connection.execute(_SMALL, key, binary=True).fetchall()
    if not found:
        raise _vanished()
    head, octets, _ = found[0]
    whole: bytes = head + b"".join([data for _, _, data in found])
    if len(whole) != octets:
        raise _incomplete()
    return whole


def _arrived(connection: DatabaseConnection, key: tuple[int, int]) -> float:
    row = connection.execute(_CAME, key).fetchone()
    if row is None:
        raise _vanished()
    return float(row[0])


@implementer(IStoredMessage)
@attrs.frozen
class LargeMessage:
    """A message that is read in pieces: ``head``, then the body with this id."""

    connections: Connections
    head: bytes
    body: str
    size: int

    def open(self) -> IMessageReader:
        """See :class:`~mailserver.interfaces.IStoredMessage`."""
        return BodyReader(self)

    def chunks(self) -> Iterator[bytes]:
        """See :class:`~mailserver.interfaces.IContent`. Raises the errors of an ``IMessageReader``."""
        with closing(self.open()) as reader:
            while piece := reader.read():
                yield piece


@implementer(IMessageReader)
class BodyReader:
    """Reads a large message in pieces."""

    def __init__(self, message: LargeMessage) -> None:
        self._message = message
        self._left = message.size
        self._pieces = self._all()

    def _all(self) -> Iterator[bytes]:
        if self._message.head:
            yield self._message.head
        yield from bodies.read(self._message.connections, self._message.body)

    def read_nowait(self) -> bytes | None:
        """See :class:`~mailserver.interfaces.IMessageReader`. Each piece is a question to the database."""
        return None

    def read(self) -> bytes:
        """See :class:`~mailserver.interfaces.IMessageReader`."""
        try:
            piece = next((each for each in self._pieces if each), b"")
        except OSError as error:
            raise storage_error(error) from error
        except MessageDamaged:
            raise _vanished() from None
        self._left -= len(piece)
        if not piece and self._left:
            raise _incomplete()
        return piece

    def close(self) -> None:
        """See :class:`~mailserver.interfaces.IMessageReader`."""


def _vanished() -> MessageVanished:
    return MessageVanished("the message has been removed")


def _incomplete() -> StorageError:
    return StorageError("the message does not have the size that it was listed with")
