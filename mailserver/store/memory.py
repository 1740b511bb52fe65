"""The ``memory`` engine: mailboxes in memory, for fixtures.

It implements the same contract as ``maildir``, also for large messages. Messages are lost when the process
ends.
"""

import time
from collections.abc import Callable, Iterable, Sequence

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mailserver.errors import MaildropInUse, MessageVanished, StorageError, StorageRefused
from mailserver.interfaces import (
    Delivery,
    IContent,
    IMailboxStore,
    IMailboxView,
    IMailboxWriter,
    IMaildrop,
    IStoredMessage,
    Restored,
    Staged,
    StoredCopy,
)
from mailserver.mail.address import Address
from mailserver.mail.ids import new_id
from mailserver.mail.snapshot import MessageInfo, Snapshot
from mailserver.store.content import SMALL, BytesContent, Copy, surrogate_size
from mailserver.store.names import mailbox_path
from mailserver.store.quota import QuotaOf


@attrs.frozen
class Message:
    """A message: its unique-id, its size, its octets, and when it came, in seconds since the epoch."""

    info: MessageInfo
    data: bytes
    came: float


@attrs.define(eq=False)
class Held:
    """A number of messages and their octets."""

    messages: int = 0
    octets: int = 0

    def add(self, octets: int, messages: int = 1) -> None:
        """Count messages of so many octets."""
        self.messages += messages
        self.octets += octets


@attrs.define(eq=False)
class Mailbox:
    """A mailbox. The messages are in the order of their arrival."""

    messages: dict[str, Message] = attrs.field(factory=dict)  # by unique-id
    locked: bool = False
    taken: Held = attrs.field(factory=Held)  # including staged messages; for the writer's thread
    removed: Held = attrs.field(factory=Held)  # for the reactor's thread


@implementer(IMailboxWriter)
class MemoryWriter:
    """Delivers messages to the mailboxes of a :class:`MemoryStore`."""

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self._staged: dict[str, tuple[str, Message]] = {}

    def stage(self, batch: Sequence[tuple[IContent, Sequence[Delivery]]]) -> "list[Staged | Exception]":
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""
        outcomes: list[Staged | Exception] = []
        for content, deliveries in batch:
            try:
                outcomes.append(self._stage(content, deliveries))
            except Exception as error:  # noqa: BLE001 - any error of the content fails only this message
                outcomes.append(error)
        return outcomes

    def _stage(self, content: IContent, deliveries: Sequence[Delivery]) -> Staged:
        full, stored = [], []
        copies: dict[bytes, tuple[Copy, bytes]] = {}
        for delivery in deliveries:
            if delivery.head not in copies:
                copy = Copy(delivery.head, content)
                copies[delivery.head] = copy, b"".join(copy.chunks())
            copy, data = copies[delivery.head]
            box = self._store.current(delivery.mailbox)
            if not self._store.has_room(box, len(data)):
                full.append(delivery)
                continue
            uid = self._store.new_id()
            mailbox = mailbox_path(box)
            surrogate = None if copy.is_ascii else surrogate_size([data])
            self._staged[uid] = (
                mailbox,
                Message(MessageInfo(uid, copy.sent, surrogate), data, self._store.now()),
            )
            self._store.mailboxes.setdefault(mailbox, Mailbox()).taken.add(len(data))
            stored.append(
                StoredCopy(f"{uid},W={copy.sent}", uid, (mailbox,), delivery.head, len(data), copy.checksum)
            )
        return Staged(tuple(stored), tuple(full))

    def publish(self, copies: Sequence[StoredCopy]) -> "dict[StoredCopy, dict[str, StorageError]]":
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""
        for copy in copies:
            mailbox, message = self._staged.pop(copy.uid)
            self._store.mailboxes[mailbox].messages[copy.uid] = message
        return {}

    def discard(self, copies: Sequence[StoredCopy]) -> None:
        """See :class:`~mailserver.interfaces.IMailboxWriter`."""
        for copy in copies:
            mailbox, message = self._staged.pop(copy.uid)
            self._store.mailboxes[mailbox].taken.add(-len(message.data), -1)

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


@implementer(IMailboxStore)
class MemoryStore:
    """Mailboxes in a dictionary. The writer's thread changes each in one atomic step."""

    def __init__(
        self,
        quota_of: QuotaOf = lambda mailbox: None,
        *,
        new_id: Callable[[], str] = new_id,
        now: Callable[[], float] = time.time,
        current: Callable[[Address], Address] = lambda mailbox: mailbox,
    ) -> None:
        """``new_id`` returns unique-ids, ``now`` the seconds since the epoch. ``current`` gives the place of
        a mailbox that was moved."""
        self.current = current
        self.new_id = new_id
        self.now = now
        self.mailboxes: dict[str, Mailbox] = {}
        self.writer = MemoryWriter(self)
        self._quota_of = quota_of

    def open(self) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.open`."""

    def close(self) -> "Deferred[None]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.close`."""
        return succeed(None)

    def has_room(self, mailbox: Address, octets: int) -> bool:
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_room`."""
        quota = self._quota_of(mailbox)
        if quota is None:
            return True
        found = self._mailbox(mailbox)
        messages = found.taken.messages - found.removed.messages
        return quota.admits(messages, found.taken.octets - found.removed.octets, octets)

    def maildrop(self, mailbox: Address) -> "Deferred[IMaildrop]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.maildrop`."""
        found = self._mailbox(mailbox)
        if found.locked:
            return fail(MaildropInUse(f"another session has the maildrop of {mailbox}"))
        found.locked = True
        return succeed(MemoryMaildrop(found))

    def browse(self, mailbox: Address) -> "Deferred[IMailboxView]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.browse`."""
        return succeed(MemoryView(self._mailbox(mailbox)))

    def check_move(self, old: Address, new: Address) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.check_move`."""
        if self._mailbox(new).messages:
            raise StorageRefused(f"the mailbox {new} has messages already")

    def move(self, old: Address, new: Address) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.move`."""
        source, target = self._mailbox(old), self._mailbox(new)
        for uid in tuple(source.messages):
            target.messages[uid] = message = source.messages.pop(uid)
            target.taken.add(len(message.data))
            source.removed.add(len(message.data))

    def has_before(self, mailbox: Address, when: float) -> "Deferred[bool]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_before`."""
        return succeed(
            any(message.came < when for message in tuple(self._mailbox(mailbox).messages.values()))
        )

    def _mailbox(self, address: Address) -> Mailbox:
        return self.mailboxes.setdefault(mailbox_path(address), Mailbox())


@implementer(IMailboxView)
class MemoryView:
    """A mailbox in memory as it was at one moment."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._snapshot = tuple(mailbox.messages.values())
        self._released = False
        self.messages = Snapshot.of([message.info for message in self._snapshot])

    def read(self, index: int) -> "Deferred[bytes | IStoredMessage]":
        """See :meth:`~mailserver.interfaces.IMailboxView.read`."""
        if self._released:
            return fail(StorageError("the maildrop is released"))
        message = self._snapshot[index]
        if message.info.uid not in self._mailbox.messages:
            return fail(MessageVanished("the message has been removed"))
        return succeed(message.data if len(message.data) <= SMALL else BytesContent(message.data))

    def arrived(self, index: int) -> "Deferred[float]":
        """See :meth:`~mailserver.interfaces.IMailboxView.arrived`."""
        return succeed(self._snapshot[index].came)


@implementer(IMaildrop)
class MemoryMaildrop(MemoryView):
    """A mailbox in memory under the lock of one session."""

    def arrived_before(self, when: float) -> "Deferred[Sequence[int]]":
        """See :meth:`~mailserver.interfaces.IMaildrop.arrived_before`."""
        return succeed([index for index, message in enumerate(self._snapshot) if message.came < when])

    def remove(self, indexes: Iterable[int]) -> "Deferred[frozenset[int]]":
        """See :meth:`~mailserver.interfaces.IMaildrop.remove`."""
        if self._released:
            return fail(StorageError("the maildrop is released"))
        for index in indexes:
            if message := self._mailbox.messages.pop(self._snapshot[index].info.uid, None):
                self._mailbox.removed.add(len(message.data))
        return succeed(frozenset())

    def release(self) -> None:
        """See :meth:`~mailserver.interfaces.IMaildrop.release`."""
        if not self._released:
            self._released = True
            self._mailbox.locked = False
