"""The ``memory`` engine: mailboxes that live as long as the process, for fixtures.

Same contract as ``maildir``, large messages and their pieces included, without thread or disk.
"""

from collections.abc import Iterable, Iterator, Sequence

import attrs
from twisted.internet.defer import Deferred, execute, fail, succeed
from zope.interface import implementer

from mailserver.errors import MaildropInUse, MessageVanished, StorageError
from mailserver.interfaces import Delivery, IContent, IMailboxStore, IMaildrop, MessageInfo
from mailserver.mail.address import Address
from mailserver.mail.ids import new_id
from mailserver.store.content import CHUNK, SMALL, Copy


@attrs.frozen
class _Message:
    info: MessageInfo
    data: bytes


@attrs.define(eq=False)
class _Mailbox:
    messages: dict[str, _Message] = attrs.field(factory=dict)  # by unique-id
    locked: bool = False


@implementer(IContent)
@attrs.frozen
class BytesContent:
    """Content that is in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """See :meth:`~mailserver.interfaces.IContent.chunks`."""
        for start in range(0, len(self.data), CHUNK):
            yield self.data[start : start + CHUNK]


@implementer(IMailboxStore)
class MemoryStore:
    """Mailboxes in a dictionary. For the reactor's thread only."""

    def __init__(self) -> None:
        self._mailboxes: dict[Address, _Mailbox] = {}

    def open(self) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.open`."""

    def close(self) -> "Deferred[None]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.close`."""
        return succeed(None)

    def deliver(self, content: IContent, deliveries: Sequence[Delivery]) -> "Deferred[None]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.deliver`."""
        return execute(self._deliver, content, deliveries)

    def _deliver(self, content: IContent, deliveries: Sequence[Delivery]) -> None:
        messages = []
        for delivery in deliveries:
            copy = Copy(delivery.head, content)
            data = b"".join(copy.chunks())
            messages.append(_Message(MessageInfo(new_id(), copy.sent), data))
        for delivery, message in zip(deliveries, messages, strict=True):
            self._mailbox(delivery.mailbox).messages[message.info.uid] = message

    def maildrop(self, mailbox: Address) -> "Deferred[IMaildrop]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.maildrop`."""
        found = self._mailbox(mailbox)
        if found.locked:
            return fail(MaildropInUse(f"another session has the maildrop of {mailbox}"))
        found.locked = True
        return succeed(MemoryMaildrop(found))

    def _mailbox(self, address: Address) -> _Mailbox:
        return self._mailboxes.setdefault(address.key, _Mailbox())


@implementer(IMaildrop)
class MemoryMaildrop:
    """A mailbox in memory under the lock of one session."""

    def __init__(self, mailbox: _Mailbox) -> None:
        self._mailbox = mailbox
        self._snapshot = tuple(mailbox.messages.values())
        self._released = False
        self.messages: Sequence[MessageInfo] = tuple(message.info for message in self._snapshot)

    def read(self, index: int) -> "Deferred[bytes | IContent]":
        """See :meth:`~mailserver.interfaces.IMaildrop.read`."""
        if self._released:
            return fail(StorageError("the maildrop is released"))
        message = self._snapshot[index]
        if message.info.uid not in self._mailbox.messages:
            return fail(MessageVanished("the message has been removed"))
        return succeed(message.data if len(message.data) <= SMALL else BytesContent(message.data))

    def remove(self, indexes: Iterable[int]) -> "Deferred[frozenset[int]]":
        """See :meth:`~mailserver.interfaces.IMaildrop.remove`."""
        if self._released:
            return fail(StorageError("the maildrop is released"))
        for index in indexes:
            self._mailbox.messages.pop(self._snapshot[index].info.uid, None)
        return succeed(frozenset())

    def release(self) -> None:
        """See :meth:`~mailserver.interfaces.IMaildrop.release`."""
        if not self._released:
            self._released = True
            self._mailbox.locked = False
