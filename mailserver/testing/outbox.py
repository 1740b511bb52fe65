"""Mail for other servers: caught in the outbox. It never leaves the process.

A test may defer or reject it by address, to see retries and bounces.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailserver.interfaces import IDelivery, QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import QueuedRecipient
from mailserver.mail.verdict import Status
from mailserver.testing.inbox import Inbox

HOST = "mx.far.example.test"
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")


@attrs.define(eq=False)
class FarReply:
    """What the other server answers for addresses that contain ``pattern``, so many ``times``."""

    pattern: str
    code: int
    enhanced: str
    text: str
    times: int | None = None


@implementer(IDelivery)
class OutboxDelivery:
    """Delivers to the outbox. ``replies`` has the answers of a test, the first that matches counts."""

    def __init__(self, inbox: Inbox, new_id: Callable[[], str], now: Callable[[], float]) -> None:
        self._inbox = inbox
        self._now = now
        self.replies: list[FarReply] = []

    def deliver(
        self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> "Deferred[Mapping[QueuedRecipient, DeliveryOutcome]]":
        """See :class:`~mailserver.interfaces.IDelivery`."""
        outcomes: dict[QueuedRecipient, DeliveryOutcome] = {
            each: self._outcome(str(each.address)) for each in recipients
        }
        sent = [each for each in recipients if isinstance(outcomes[each], outcome.Delivered)]
        if sent:
            octets = sent[0].head + b"".join(message.content.chunks())
            addresses = [str(each.address) for each in sent]
            self._inbox.relayed(message.id, sent[0].reverse_path, addresses, octets, self._now())
        # Any: Deferred is invariant.
        done: Deferred[Any] = succeed(outcomes)
        return done

    def _outcome(self, address: str) -> DeliveryOutcome:
        for reply in self.replies:
            if reply.pattern.casefold() in address.casefold() and reply.times != 0:
                if reply.times is not None:
                    reply.times -= 1
                return _outcome_of(reply)
        return outcome.Delivered(HOST, "250 2.0.0 Ok")


def _outcome_of(reply: FarReply) -> DeliveryOutcome:
    found = _ENHANCED.fullmatch(reply.enhanced)
    subject, detail = (int(found[2]), int(found[3])) if found is not None else (0, 0)
    status = Status(subject, detail)
    line = f"{reply.code} {reply.enhanced} {reply.text}"
    if reply.code < 500:
        return outcome.Deferred(status, reply.text, host=HOST, reply=line)
    return outcome.Failed(status, reply.text, host=HOST, reply=line)
