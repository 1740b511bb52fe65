"""Taking messages in: from the first octet to the moment when 250 may be said.

A message is given to the mailbox store for all its destinations at once; the store answers when
every copy is on disk and visible (DESIGN: "250 means on disk and in the mailbox").
"""

from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mailserver.durable.spill import Spill
from mailserver.errors import storage_error
from mailserver.interfaces import Delivery, IIncomingMessage, IMailboxStore, IReactor, ISpool
from mailserver.mail.envelope import Envelope
from mailserver.mail.trace import final_delivery
from mailserver.mail.verdict import Destination
from mailserver.queue.content import IN_MEMORY_OF_ALL, Content, Room

_T = TypeVar("_T")


@implementer(IIncomingMessage)
class IncomingMessage:
    """One message on its way in."""

    def __init__(self, store: IMailboxStore, content: Content, envelope: Envelope, trace: bytes) -> None:
        self._store = store
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
        deliveries = [
            Delivery(destination.mailbox, self._head(destination))
            for destination in self._envelope.destinations
        ]
        return self._store.deliver(self._content, deliveries).addBoth(self._finished)

    def _head(self, destination: Destination) -> bytes:
        reverse_path = self._envelope.reverse_path_for(destination)
        return final_delivery(reverse_path, destination.delivered_to) + self._trace

    def _finished(self, result: _T) -> _T:
        self._content.close()
        return result

    def abandon(self) -> None:
        """See :class:`IIncomingMessage`."""
        self._content.close()


@implementer(ISpool)
class Intake:
    """Takes messages in for the mailboxes of one store."""

    def __init__(self, store: IMailboxStore, folder: Path, reactor: IReactor) -> None:
        """``folder`` is where the rest of large messages is kept while they arrive."""
        self._store = store
        self._folder = folder
        self._reactor = reactor
        self._room = Room(IN_MEMORY_OF_ALL)

    def receive(self, envelope: Envelope, trace: bytes) -> IncomingMessage:
        """See :class:`ISpool`."""
        content = Content(self._reactor, lambda: Spill(self._folder), self._room)
        return IncomingMessage(self._store, content, envelope, trace)
