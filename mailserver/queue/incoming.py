"""An incoming message, from its first octet until the server may answer 250."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mailserver.errors import storage_error
from mailserver.interfaces import Delivery, IContent, IIncomingMessage
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Envelope
from mailserver.mail.handling import USUAL
from mailserver.mail.queued import LOCAL, QueuedRecipient, remote_destination
from mailserver.mail.trace import final_delivery, forwarded_by
from mailserver.mail.verdict import Destination
from mailserver.queue.content import Content
from mailserver.queue.entries import address_text, bounced_as
from mailserver.queue.requests import request_for

# Octets. Limit for the copies of a message that differ only in Delivered-To.
MAX_COPIED = 1024 * 1024

AcceptMessage = Callable[..., Deferred[Collection[Address]]]

_T = TypeVar("_T")


@implementer(IIncomingMessage)
class IncomingMessage:
    """One incoming message. ``accept`` takes it at the end."""

    def __init__(self, accept: AcceptMessage, content: Content, envelope: Envelope, trace: bytes) -> None:
        self._accept = accept
        self.content = content
        self._envelope = envelope
        self._trace = trace

    def write(self, data: bytes) -> Deferred[None] | None:
        """See :class:`IIncomingMessage`."""
        return self.content.write(data)

    def commit(
        self,
        fields: bytes = b"",
        together: Sequence[Collection[Address]] | None = None,
        aside: Address | None = None,
        changed: IContent | None = None,
    ) -> Deferred[Collection[Address]]:
        """See :class:`IIncomingMessage`."""
        try:
            self.content.check()
        except OSError as error:
            self.content.close()
            return fail(storage_error(error))
        envelope, trace = self._envelope, fields + self._trace
        if aside is not None:
            destinations = (Destination(aside, aside),)
            envelope = attrs.evolve(envelope, destinations=destinations, reports={}, handling=USUAL)
        content = self.content if changed is None else changed
        copies = deliveries(envelope, trace, content.size)
        waiting = remote_recipients(envelope, trace)
        if envelope.handling.release:
            waiting = [*waiting, *_local_recipients(envelope, copies, len(waiting) + 1)]
            copies = []
        taken = self._accept(content, envelope, copies, waiting, together=together)
        return taken.addBoth(self._finished)

    def _finished(self, result: _T) -> _T:
        self.content.close()
        return result

    def abandon(self) -> None:
        """See :class:`IIncomingMessage`."""
        self.content.close()


def deliveries(envelope: Envelope, trace: bytes, size: int) -> list[Delivery]:
    """The deliveries of a message of ``size`` octets to mailboxes here, with their trace fields.

    Mailboxes with the same trace fields share one file. Therefore, if there are several recipients, those
    addressed by the name of their mailbox get no Delivered-To, which would add nothing. If the copies would
    still take too many octets, they get no Delivered-To at all.
    """
    alone = len(envelope.recipients) == 1
    if alone and len(envelope.destinations) == 1 and not envelope.destinations[0].remote:
        (destination,) = envelope.destinations
        head = final_delivery(envelope.reverse_path_for(destination), destination.delivered_to) + trace
        return [Delivery(destination.mailbox, head)]
    here = [destination for destination in envelope.destinations if not destination.remote]
    if not here:
        return []
    marks: list[tuple[ReversePath, Address | None]] = []
    for destination in here:
        mailbox, delivered_to = destination.mailbox, destination.delivered_to
        own_name = not alone and (delivered_to is mailbox or delivered_to.key == mailbox.key)
        marks.append((envelope.reverse_path_for(destination), None if own_name else delivered_to))
    different = set(marks)
    if len(different) * size > MAX_COPIED:
        many = {path for path, count in Counter(path for path, _ in different).items() if count > 1}
        marks = [(path, None if path in many else delivered_to) for path, delivered_to in marks]
    heads = {mark: final_delivery(*mark) + trace for mark in dict.fromkeys(marks)}
    return [Delivery(destination.mailbox, heads[mark]) for destination, mark in zip(here, marks, strict=True)]


def remote_recipients(envelope: Envelope, trace: bytes) -> Sequence[QueuedRecipient]:
    """The recipients of a message on other servers, due at once.

    The copy for an address that another one forwards to has a Delivered-To field, which stops mail loops.
    """
    found: list[QueuedRecipient] = []
    for destination in envelope.destinations:
        if not destination.remote:
            continue
        mailbox, delivered_to = destination.mailbox, destination.delivered_to
        mark = forwarded_by(delivered_to) if destination.is_forwarded else b""
        request = request_for(envelope, destination)
        found.append(
            QueuedRecipient(
                number=len(found) + 1,
                destination=remote_destination(mailbox.domain),
                address=str(mailbox),
                recipient=bounced_as(destination),
                reverse_path=address_text(envelope.reverse_path_for(destination)),
                head=mark + trace,
                attempts=0,
                next=0.0,
                history=(),
                notify=request.notify,
                orcpt=request.orcpt,
            )
        )
    return found


def _local_recipients(
    envelope: Envelope, copies: Sequence[Delivery], first: int
) -> Iterator[QueuedRecipient]:
    """The recipients here of a message that the sender holds. ``first`` is the number of the first one."""
    destinations = {destination.mailbox: destination for destination in envelope.destinations}
    for number, copy in enumerate(copies, first):
        destination = destinations[copy.mailbox]
        request = request_for(envelope, destination)
        yield QueuedRecipient(
            number=number,
            destination=LOCAL,
            address=str(copy.mailbox),
            recipient=bounced_as(destination),
            reverse_path=address_text(envelope.reverse_path_for(destination)),
            head=copy.head,
            attempts=0,
            next=0.0,
            history=(),
            notify=request.notify,
            orcpt=request.orcpt,
        )
