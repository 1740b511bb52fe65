"""The jobs that the spool gives to its writer: a new message, and copies of a waiting one."""

from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from mailserver.errors import MailboxFull
from mailserver.interfaces import Delivery, IContent, QueuedMessage, StoredCopy
from mailserver.mail import outcome
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.queued import LOCAL, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import Destination
from mailserver.queue.entries import Entry, RecordedAttempt, address_text, bounced_as
from mailserver.queue.interfaces import ISpoolTransaction
from mailserver.queue.requests import request_for
from mailserver.queue.writer import Job


def _kept(content: IContent, copies: Sequence[StoredCopy]) -> bytes | None:
    """The content, if the spool must store it until the copies are synced; it is small then."""
    for copy in copies:  # any() would take longer
        if not copy.source:
            return b"".join(content.chunks())
    return None


@attrs.define(eq=False)
class Arrival(Job):
    """A new message. If it is a report, it is ``recorded`` with the attempt that it is about.

    ``remote`` are recipients on other servers. ``next``: time of the next attempt for deferred recipients.
    For ``together`` see :meth:`~mailserver.interfaces.IIncomingMessage.commit`. Times are in seconds since
    the epoch. ``queued`` is the message as it waits, None if it waits for nobody. ``rejected`` are the full
    mailboxes that do not get it.
    """

    envelope: Envelope = attrs.field(kw_only=True)
    received: float = attrs.field(kw_only=True)
    next: float = attrs.field(kw_only=True)
    recorded: RecordedAttempt | None = attrs.field(kw_only=True)
    remote: Sequence[QueuedRecipient] = attrs.field(kw_only=True)
    together: Sequence[Collection[Address]] | None = attrs.field(kw_only=True)
    full: tuple[QueuedRecipient, ...] = ()
    queued: QueuedMessage | None = None
    rejected: Collection[Address] = ()

    def record(self, transaction: ISpoolTransaction, check_room: Callable[[], None]) -> None:
        """See :class:`Job`. Raises :class:`~mailserver.errors.MailboxFull`."""
        content, copies = self.content, self.staged.copies
        assert content is not None
        reverse_path = address_text(self.envelope.reverse_path)
        kept = _kept(content, copies)
        if self.staged.full:
            self.full = self._full()
        if self.full or self.remote:
            check_room()
            self.queued = transaction.enqueue(self.message, (*self.remote, *self.full))
        if copies and not self.staged.in_transaction:
            transaction.take(
                Entry(self.seq, self.envelope.id, self.received, reverse_path, content.size, copies, kept)
            )
        if self.recorded is not None:
            transaction.record_attempt(self.recorded.message, self.recorded.left, self.recorded.gone)

    @property
    def message(self) -> QueuedMessage:
        """The message as it waits in the queue."""
        content, envelope = self.content, self.envelope
        assert content is not None
        return QueuedMessage(
            self.seq, envelope.id, self.received, address_text(envelope.reverse_path), content.size, content,
            envelope.ret, envelope.envid, envelope.handling,
        )  # fmt: skip

    def _full(self) -> tuple[QueuedRecipient, ...]:
        """The recipients whose mailbox is full. Raises MailboxFull if the message must be rejected."""
        full = self.staged.full
        destinations = {destination.mailbox: destination for destination in self.envelope.destinations}
        waits = [destinations[delivery.mailbox] for delivery in full]
        together = (list(destinations),) if self.together is None else self.together
        self.rejected = _rejected(together, {each.mailbox for each in waits if each.bounces_to is None})
        if not (self.staged.copies or self.remote or len(self.rejected) < len(full)):
            raise MailboxFull(outcome.FULL.text, tuple(str(delivery.mailbox) for delivery in full))
        waiting = [pair for pair in zip(full, waits, strict=True) if pair[0].mailbox not in self.rejected]
        return tuple([self._wait(number, *pair) for number, pair in enumerate(waiting, len(self.remote) + 1)])

    def _wait(self, number: int, delivery: Delivery, destination: Destination) -> QueuedRecipient:
        request = request_for(self.envelope, destination)
        return QueuedRecipient(
            number=number,
            destination=LOCAL,
            address=str(delivery.mailbox),
            recipient=bounced_as(destination),
            reverse_path=address_text(self.envelope.reverse_path_for(destination)),
            head=delivery.head,
            attempts=1,
            next=self.next,
            history=(FailedAttempt(self.received, outcome.FULL.status, outcome.FULL.text),),
            notify=request.notify,
            orcpt=request.orcpt,
        )


def _rejected(together: Sequence[Collection[Address]], full: set[Address]) -> Collection[Address]:
    """Those of the ``full`` mailboxes that are only in sets that are rejected as a whole."""
    rejected = full & {each for one in together for each in one}
    while kept := rejected & {each for one in together if not rejected.issuperset(one) for each in one}:
        rejected -= kept
    return rejected


@attrs.define(eq=False)
class Put(Job):
    """Copies of a waiting message for mailboxes. Recipients that get one leave the queue."""

    message: QueuedMessage = attrs.field(kw_only=True)
    copies: Mapping[QueuedRecipient, Delivery] = attrs.field(kw_only=True)
    full: Collection[QueuedRecipient] = ()

    def record(self, transaction: ISpoolTransaction, check_room: Callable[[], None]) -> None:
        """See :class:`Job`."""
        full = set(self.staged.full)
        self.full = frozenset(each for each, copy in self.copies.items() if copy in full)
        if self.staged.copies:
            if not self.staged.in_transaction:
                content = _kept(self.message.content, self.staged.copies)
                transaction.take(
                    Entry(
                        self.seq, self.message.id, self.message.received, self.message.reverse_path,
                        self.message.octets, self.staged.copies, content,
                    )
                )  # fmt: skip
            gone = [each for each in self.copies if each not in self.full]
            transaction.record_attempt(self.message, (), gone)
