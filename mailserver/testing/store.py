"""The mailboxes of a fixture: the ``memory`` engine, which reports each message that it publishes."""

import re
from collections.abc import Callable, Sequence

import attrs

from mailserver.errors import StorageError
from mailserver.interfaces import Delivery, IContent, Staged, StoredCopy
from mailserver.mail.address import Address
from mailserver.store.content import BytesContent
from mailserver.store.memory import MemoryStore, MemoryWriter
from mailserver.store.names import mailbox_path

_LF = re.compile(rb"(?<!\r)\n")

Published = Callable[[Address, str, bytes], None]
"""Called with the mailbox, the unique-id and the octets of a message, in the thread that publishes it."""


class ReportingWriter(MemoryWriter):
    """Delivers messages, and reports them."""

    def __init__(self, store: "ReportingStore", published: Published) -> None:
        super().__init__(store)
        self._reported = store
        self._published = published

    def stage(self, batch: Sequence[tuple[IContent, Sequence[Delivery]]]) -> "list[Staged | Exception]":
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""
        for _, deliveries in batch:
            for delivery in deliveries:
                self._reported.addresses[mailbox_path(delivery.mailbox)] = delivery.mailbox
        return super().stage(batch)

    def publish(self, copies: Sequence[StoredCopy]) -> "dict[StoredCopy, dict[str, StorageError]]":
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""
        errors = super().publish(copies)
        for copy in copies:
            (path,) = copy.mailboxes
            message = self._reported.mailboxes[path].messages[copy.uid]
            self._published(self._reported.addresses[path], copy.uid, message.data)
        return errors


class ReportingStore(MemoryStore):
    """Mailboxes in memory. ``addresses`` has the address of each by its name in the store."""

    def __init__(self, published: Published, new_id: Callable[[], str], now: Callable[[], float]) -> None:
        super().__init__(new_id=new_id, now=now)
        self.addresses: dict[str, Address] = {}
        self.writer = ReportingWriter(self, published)

    def put(self, mailbox: Address, octets: bytes) -> str:
        """Put a message into a mailbox, without a header field in front. Returns its unique-id.

        A line may end in LF alone.
        """
        octets = _LF.sub(b"\r\n", octets)
        (staged,) = self.writer.stage([(BytesContent(octets), [Delivery(mailbox, b"")])])
        if isinstance(staged, Exception):
            raise staged
        self.writer.publish(staged.copies)
        return staged.copies[0].uid

    def remove(self, mailbox: Address, uid: str) -> bool:
        """Remove a message as another program would. Returns whether it was there."""
        return self._mailbox(mailbox).messages.pop(uid, None) is not None

    def has(self, mailbox: Address, uid: str) -> bool:
        """Whether a mailbox has a message."""
        return uid in self._mailbox(mailbox).messages

    def reset_uids(self, mailbox: Address) -> dict[str, str]:
        """Give each message of a mailbox another unique-id. Returns the new ones by the old ones."""
        found = self._mailbox(mailbox)
        changed = {uid: self.new_id() for uid in found.messages}
        found.messages = {
            changed[uid]: attrs.evolve(message, info=attrs.evolve(message.info, uid=changed[uid]))
            for uid, message in found.messages.items()
        }
        return changed
