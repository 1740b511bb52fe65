"""Delivery to the mailboxes of this server.

One commit accepts the copies and removes their recipients from the queue, so a crash neither loses a copy
nor delivers it twice.
"""

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.interfaces import Delivery, IDelivery, ISpool, QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.address import Address
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import QueuedRecipient


@implementer(IDelivery)
class LocalDelivery:
    """Delivers through the spool, which commits the copies of many messages together."""

    def __init__(self, spool: ISpool) -> None:
        self._spool = spool

    def deliver(
        self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> "Deferred[Mapping[QueuedRecipient, DeliveryOutcome]]":
        """See :class:`~mailserver.interfaces.IDelivery`."""
        return Deferred.fromCoroutine(self._deliver(message, recipients))

    async def _deliver(
        self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> Mapping[QueuedRecipient, DeliveryOutcome]:
        copies = {each: Delivery(Address.parse(each.address), each.head) for each in recipients}
        full = await self._spool.put(message, copies)
        return {each: outcome.FULL if each in full else outcome.Delivered() for each in recipients}
