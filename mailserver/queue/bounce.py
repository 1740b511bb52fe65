"""Gives up on recipients and sends bounces about them (RFC 3464)."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from mailserver.events.base import report
from mailserver.events.queue import BounceDeferred, DeliveryFailed, DeliveryFailedSilently
from mailserver.interfaces import IRouter
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import new_id
from mailserver.mail.report import FailedRecipient, failure_report, header_of
from mailserver.mail.verdict import Routed
from mailserver.mail.words import AddressNames
from mailserver.queue.entries import InMemoryContent, Queued
from mailserver.queue.incoming import deliveries, remote_recipients
from mailserver.queue.spool import Spool


class Bounces:
    """Sends bounces to reverse-paths. ``now`` is wall-clock time in seconds since the epoch."""

    def __init__(self, spool: Spool, router: IRouter, hostname: str, now: Callable[[], float]) -> None:
        self._spool = spool
        self._router = router
        self._hostname = hostname
        self._now = now

    async def give_up(self, over: Queued, rule: str) -> bool:
        """Bounce recipients that have the same reverse-path, and remove them from the queue.

        ``rule`` is the configuration key that decided. Returns False if the bounce cannot be delivered;
        then the recipients stay.
        """
        message, recipients = over.message, over.recipients
        reverse_path = recipients[0].reverse_path
        fields: dict[str, Any] = {
            "id": message.id,
            "sender": f"<{reverse_path}>",
            "mailboxes": AddressNames([each.address for each in recipients]),
            "recipients": AddressNames(dict.fromkeys(each.recipient for each in recipients)),
            "reason": recipients[0].last.text,
            "rule": rule,
        }
        if not reverse_path:
            report(DeliveryFailedSilently(**fields))
            await self._spool.record_attempt(message, (), recipients)
            return True
        to = Address.parse(reverse_path)
        routed = self._router.route(to)
        if isinstance(routed, Deferred):
            routed = await routed
        if not isinstance(routed, Routed):
            report(BounceDeferred(**fields))
            return False
        envelope = Envelope(new_id(), None, (to,), routed.destinations)
        content = failure_report(
            hostname=self._hostname, to=to, id=envelope.id, message_id=message.id, received=message.received,
            now=self._now(), header=header_of(message.content.chunks()),
            failed=tuple(
                FailedRecipient(each.recipient, each.last.status, each.last.text) for each in recipients
            ),
        )  # fmt: skip
        await self._spool.accept(
            InMemoryContent(content),
            envelope,
            deliveries(envelope, b"", len(content)),
            remote_recipients(envelope, b""),
            over,
            must_be_taken=True,
        )
        report(DeliveryFailed(bounce=envelope.id, **fields))
        return True
