"""A message on its way in: from the first octet to the moment when 250 may be said."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mailserver.errors import storage_error
from mailserver.interfaces import Delivery, IContent, IIncomingMessage
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.trace import final_delivery
from mailserver.queue.content import Content

Accept = Callable[[IContent, Envelope, Sequence[Delivery]], Deferred[None]]

_T = TypeVar("_T")


@implementer(IIncomingMessage)
class IncomingMessage:
    """One message on its way to whatever accepts it."""

    def __init__(self, accept: Accept, content: Content, envelope: Envelope, trace: bytes) -> None:
        self._accept = accept
        self._content = content
        self._envelope = envelope
        self._trace = trace

    def write(self, data: bytes) -> Deferred[None] | None:
        """See :class:`IIncomingMessage`."""
        return self._content.write(data)

    def commit(self) -> Deferred[None]:
        """See :class:`IIncomingMessage`."""
        try:
            self._content.check()
        except OSError as error:
            self._content.close()
            return fail(storage_error(error))
        taken = self._accept(self._content, self._envelope, deliveries(self._envelope, self._trace))
        return taken.addBoth(self._finished)

    def _finished(self, result: _T) -> _T:
        self._content.close()
        return result

    def abandon(self) -> None:
        """See :class:`IIncomingMessage`."""
        self._content.close()


def deliveries(envelope: Envelope, trace: bytes) -> list[Delivery]:
    """A copy for each destination, with its trace fields in front.

    Among several recipients those who are addressed by the name of their mailbox have no Delivered-To:
    it would tell them nothing, and so all of them can have the same text.
    """
    alone = len(envelope.recipients) == 1
    heads: dict[tuple[Address | None, Address | None], bytes] = {}
    found = []
    for destination in envelope.destinations:
        delivered_to: Address | None = destination.delivered_to
        if not alone and destination.delivered_to.key == destination.mailbox.key:
            delivered_to = None
        key = envelope.reverse_path_for(destination), delivered_to
        if key not in heads:
            heads[key] = final_delivery(*key) + trace
        found.append(Delivery(destination.mailbox, heads[key]))
    return found
