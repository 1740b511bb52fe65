"""One attempt to deliver a message to the recipients of one destination, and its record.

The age of a message is the sum of the scheduled times between its attempts, so a clock that jumps causes
neither a storm of retries nor an early bounce. A bounce goes to the reverse-path (RFC 3464), never to the
null reverse-path (RFC 5321 section 4.5.5). If the bounce cannot be delivered, the recipients stay in the
queue.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from mailserver.events.base import report
from mailserver.events.queue import DeliveryDeferred, MessageDelivered, MessageRelayed
from mailserver.interfaces import IDelivery, QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import MAIL_SYSTEM
from mailserver.mail.words import AddressNames
from mailserver.queue.bounce import Bounces
from mailserver.queue.entries import Queued
from mailserver.queue.schedule import Schedule
from mailserver.queue.spool import Spool

HISTORY = 50  # failed attempts kept for a recipient
EXPIRED = "queue.expire_after"  # the key that ends the schedule

AttemptOutcomes = Mapping[QueuedRecipient, DeliveryOutcome]


class Attempts:
    """Makes attempts. ``deliveries`` has the delivery engines, by the first word of their destinations.

    ``now`` is the clock of the spool, ``steady`` the one of the schedule, in seconds since the epoch.
    ``jitter`` returns the factor for the time until the next attempt.
    """

    def __init__(
        self,
        spool: Spool,
        deliveries: Mapping[str, IDelivery],
        bounces: Bounces,
        schedule: Callable[[], Schedule],
        now: Callable[[], float],
        steady: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._deliveries = deliveries
        self._bounces = bounces
        self._schedule = schedule
        self._now = now
        self._steady = steady
        self._jitter = jitter

    async def deliver(self, destination: str, queued: Queued) -> AttemptOutcomes:
        """Try the recipients. Raises :class:`~mailserver.errors.StorageError` or ``OSError`` if this server
        could not make the attempt, and :class:`~mailserver.errors.MessageDamaged`."""
        delivery = self._deliveries.get(destination.partition(":")[0])
        if delivery is None:
            unknown = outcome.Deferred(MAIL_SYSTEM, f"no delivery engine for destination {destination}")
            return dict.fromkeys(queued.recipients, unknown)
        outcomes: AttemptOutcomes = await delivery.deliver(queued.message, queued.recipients)
        return outcomes

    async def record(self, message: QueuedMessage, outcomes: AttemptOutcomes) -> float | None:
        """Record the outcomes, then bounce the recipients that have failed.

        Returns the due time of the first recipient that still waits, None if none waits. Raises as
        :meth:`deliver` does.
        """
        delivered = []
        left: dict[int, QueuedRecipient] = {}
        over: dict[str, list[tuple[QueuedRecipient, str]]] = {}
        for each, result in outcomes.items():
            if isinstance(result, outcome.Delivered):
                delivered.append(each)
                continue
            tried = left[each.number] = self._tried(each, result)
            if isinstance(result, outcome.Failed):
                over.setdefault(each.reverse_path, []).append((tried, result.rule))
            elif result.tried and self._schedule().is_over(tried.attempts):
                over.setdefault(each.reverse_path, []).append((tried, EXPIRED))
        await self._spool.record_attempt(message, left.values(), delivered)
        _log_outcomes(message, outcomes)
        for given_up in over.values():
            recipients = [each for each, _ in given_up]
            if await self._bounces.give_up(Queued(message, tuple(recipients)), given_up[0][1]):
                for each in recipients:
                    del left[each.number]
        return min((each.next for each in left.values()), default=None)

    def _tried(self, each: QueuedRecipient, result: outcome.Deferred | outcome.Failed) -> QueuedRecipient:
        """The recipient after another failed attempt."""
        now, attempts, schedule = self._steady(), each.attempts + 1, self._schedule()
        if isinstance(result, outcome.Deferred) and not result.tried:
            return attrs.evolve(each, next=max(result.until or now + schedule.before(1), now))
        next_ = now + schedule.before(attempts) * self._jitter()
        if isinstance(result, outcome.Deferred) and result.until is not None and result.until > now:
            next_ = min(result.until, now + schedule.longest)
        attempt = FailedAttempt(self._now(), result.status, result.text, result.host, result.reply)
        return attrs.evolve(each, attempts=attempts, next=next_, history=(*each.history, attempt)[-HISTORY:])


def _log_outcomes(message: QueuedMessage, outcomes: AttemptOutcomes) -> None:
    """Report the delivered recipients, and the deferred ones, by their reasons.

    ``Bounces`` reports the failed ones."""
    same: dict[tuple[str, str, str, str], list[QueuedRecipient]] = {}
    for each, result in outcomes.items():
        if isinstance(result, outcome.Delivered):
            same.setdefault(("", "", result.host, result.reply), []).append(each)
        elif isinstance(result, outcome.Deferred):
            same.setdefault((result.text, result.rule, result.host, result.reply), []).append(each)
    for (reason, rule, host, reply), recipients in sorted(same.items(), key=lambda one: one[0]):
        fields: dict[str, Any] = {
            "id": message.id,
            "sender": f"<{message.reverse_path}>",
            "mailboxes": AddressNames([each.address for each in recipients]),
            "recipients": AddressNames(dict.fromkeys(each.recipient for each in recipients)),
            "attempt": max(each.attempts for each in recipients) + 1,
        }
        if reason:
            report(DeliveryDeferred(reason=reason, rule=rule, host=host, reply=reply, **fields))
        elif host:
            report(MessageRelayed(host=host, reply=reply, **fields))
        else:
            report(MessageDelivered(**fields))
