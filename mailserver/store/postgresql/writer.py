"""Delivers messages to mailboxes in PostgreSQL, within the transaction of the spool.

``stage`` locks the mailboxes and keeps the rows of small messages in memory. The bodies of large ones are
written at once, in parts. All rows are written before the commit, in one go for each table. If nobody else
commits, ``publish`` does.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import islice

import attrs
from zope.interface import implementer

from mailserver.errors import StorageError, storage_error
from mailserver.interfaces import Delivery, IContent, IMailboxWriter, Restored, Staged, StoredCopy
from mailserver.mail.address import Address
from mailserver.mail.ids import new_id
from mailserver.mail.surrogate import needs_surrogate
from mailserver.postgresql import bodies
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import DatabaseConnection, os_errors
from mailserver.postgresql.transaction import GroupTransaction
from mailserver.store.content import BytesContent, Copy, surrogate_size
from mailserver.store.names import mailbox_path
from mailserver.store.postgresql import rows
from mailserver.store.postgresql.rows import MailboxRow
from mailserver.store.quota import QuotaOf

_Place = tuple[Delivery, Address, str]
"""A delivery with the address and the path of its mailbox."""


@attrs.frozen
class MessageRow:
    """A message that is not committed yet; see ``schema``."""

    box: MailboxRow
    number: int
    copy: StoredCopy
    body: str
    sent: int
    surrogate: int | None
    came: float


@implementer(IMailboxWriter)
class PostgreSQLWriter:
    """Adds messages to the transaction ``group``."""

    def __init__(
        self,
        connections: Connections,
        group: GroupTransaction,
        quota_of: QuotaOf,
        current: Callable[[Address], Address],
    ) -> None:
        self._connections = connections
        self._group = group
        self._quota_of = quota_of
        self._current = current
        self._boxes: dict[str, MailboxRow] = {}
        self._messages: dict[str, MessageRow] = {}  # by unique-id
        self._bodies: dict[str, bytes] = {}  # small ones
        # The messages of the last group, by unique-id, and those of commits with an unknown outcome.
        self._written: dict[str, tuple[str, int]] = {}
        self._doubtful: list[tuple[str, int]] = []

    # ------------------------------------------------------------ stage

    def stage(self, batch: Sequence[tuple[IContent, Sequence[Delivery]]]) -> "list[Staged | Exception]":
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""
        self._messages, self._bodies = {}, {}
        placed = [self._places(deliveries) for _, deliveries in batch]
        paths = {path for each in placed if isinstance(each, list) for _, _, path in each}
        paths.update(path for path, _ in self._doubtful)
        try:
            with os_errors():
                connection = self._lock(paths)
        except OSError as error:
            return [storage_error(error)] * len(batch)
        outcomes: list[Staged | Exception] = []
        for (content, _), places in zip(batch, placed, strict=True):
            if isinstance(places, Exception):
                outcomes.append(places)
                continue
            try:
                with os_errors():
                    outcomes.append(self._stage(connection, content, places))
            except OSError as error:
                outcomes.append(storage_error(error))
            except Exception as error:  # noqa: BLE001 - any error of the content fails only this message
                outcomes.append(error)
        if connection.closed:
            self._group.rollback()
            return [StorageError("the connection to the database was lost")] * len(batch)
        return outcomes

    def _places(self, deliveries: Sequence[Delivery]) -> "list[_Place] | Exception":
        try:
            places = [self._current(each.mailbox) for each in deliveries]
            return [(each, box, mailbox_path(box)) for each, box in zip(deliveries, places, strict=True)]
        except Exception as error:  # noqa: BLE001 - as above
            return error

    def _lock(self, paths: set[str]) -> DatabaseConnection:
        connection = self._group.stage(self._write, self._doubtful.clear)
        self._boxes = rows.lock(connection, paths)
        if missing := paths.difference(self._boxes):
            self._group.rollback()
            self._connections.run(partial(rows.create, paths=missing))
            connection = self._group.stage(self._write, self._doubtful.clear)
            self._boxes = rows.lock(connection, paths)
        return connection

    def _stage(self, connection: DatabaseConnection, content: IContent, places: Sequence[_Place]) -> Staged:
        full: list[Delivery] = []
        taken: list[tuple[Delivery, MailboxRow, int]] = []
        try:
            for delivery, address, path in places:
                box, octets = self._boxes[path], len(delivery.head) + content.size
                quota = self._quota_of(address)
                if quota is not None and not quota.admits(box.messages, box.octets, octets):
                    full.append(delivery)
                else:
                    taken.append((delivery, box, box.add(octets)))
            if not taken:
                return Staged((), tuple(full), in_transaction=True)
            body = new_id()
            heads = list(dict.fromkeys(delivery.head for delivery, _, _ in taken))
            measured = self._measured(connection, body, content, heads)
        except BaseException:
            for delivery, box, _ in taken:
                box.take_back(len(delivery.head) + content.size)
            raise
        copies, came = [], time.time()
        for delivery, box, number in taken:
            whole, surrogate = measured[delivery.head]
            uid = new_id()
            copy = StoredCopy(uid, uid, (box.path,), delivery.head, whole.octets, whole.checksum, source=body)
            self._messages[uid] = MessageRow(box, number, copy, body, whole.sent, surrogate, came)
            copies.append(copy)
        return Staged(tuple(copies), tuple(full), in_transaction=True)

    def _measured(
        self, connection: DatabaseConnection, body: str, content: IContent, heads: Sequence[bytes]
    ) -> dict[bytes, tuple[Copy, int | None]]:
        """Write or keep the body. Returns the copy with each head, read to its end, and its surrogate's
        size."""
        if is_small := content.size < bodies.PART:
            content = BytesContent(b"".join(Copy(b"", content).chunks()))
        copies = {head: Copy(head, content) for head in heads}
        for head, copy in copies.items():
            if not is_small and head is heads[0]:
                bodies.write(connection, body, islice(copy.chunks(), 1, None))
            else:
                _read_through(copy.chunks())
        if is_small:
            self._bodies[body] = b"".join(content.chunks())
        has_utf8 = cache(lambda: needs_surrogate(content.chunks()))
        return {
            head: (copy, surrogate_size(Copy(head, content).chunks()) if copy.has_utf8(has_utf8) else None)
            for head, copy in copies.items()
        }

    # ------------------------------------------------------------ write, publish, discard

    def _write(self, connection: DatabaseConnection) -> None:
        """Write all rows, before the commit."""
        messages, self._messages = self._messages, {}
        self._written = {uid: (each.box.path, each.number) for uid, each in messages.items()}
        for path, number in self._doubtful:
            rows.delete(connection, self._boxes[path], [number])
        rows.insert(
            connection,
            self._bodies.items(),
            [
                (each.box.id, each.number, each.copy.uid, each.copy.head, each.body, each.copy.octets,
                 each.sent, each.surrogate, each.came)
                for each in messages.values()
            ],
        )  # fmt: skip
        rows.save(connection, self._boxes.values())

    def publish(self, copies: Sequence[StoredCopy]) -> "dict[StoredCopy, dict[str, StorageError]]":
        """See :class:`~mailserver.interfaces.IMailboxWriter`. Commits, unless the spool has."""
        try:
            self._group.commit()
        except OSError as error:
            return {copy: dict.fromkeys(copy.mailboxes, storage_error(error)) for copy in copies}
        return {}

    def discard(self, copies: Sequence[StoredCopy]) -> None:
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""
        for copy in copies:
            row = self._messages.pop(copy.uid, None)
            if row is not None:
                row.box.take_back(copy.octets)
                # The body that no message has in the end: the copies of one message are discarded together.
                if self._bodies.pop(row.body, None) is None:
                    with suppress(OSError), os_errors():  # then the whole group fails
                        bodies.remove(self._group.begin(), row.body)
            elif self._group.outcome_unknown and copy.uid in self._written:
                self._doubtful.append(self._written[copy.uid])

    # ------------------------------------------------------------ nothing to do after the commit

    def sync(self, copies: Sequence[StoredCopy]) -> list[StoredCopy]:
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""
        return []

    def forget(self, copies: Sequence[StoredCopy]) -> None:
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""

    def restore(
        self, copy: StoredCopy, content: IContent | None, *, missing: bool = True, present: bool = True
    ) -> Restored:
        """See :class:`~mailserver.interfaces.IMailboxWriter`. There is nothing to restore."""
        return Restored()


def _read_through(chunks: Iterator[bytes]) -> None:
    for _ in chunks:
        continue
