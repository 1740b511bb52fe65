"""One attempt to deliver a message to the recipients of one destination, and its record.

The age of a message is the sum of the scheduled times between its attempts, so a clock that jumps causes
neither a storm of retries nor an early bounce. If a bounce cannot be delivered, the recipients stay in the
queue. If the record of a delivery fails, the next attempt repeats the record and not the delivery.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailserver.errors import MessageDamaged, StorageError
from mailserver.events.base import report
from mailserver.events.queue import AttemptFailed, DeliveryDeferred, MessageDelivered, MessageRelayed
from mailserver.interfaces import IDelivery, QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import LOCAL, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import MAIL_SYSTEM, Status
from mailserver.mail.words import AddressNames
from mailserver.queue.entries import Queued
from mailserver.queue.reports import GivenUp, Reports
from mailserver.queue.requests import DELAY, NEVER, SUCCESS, is_wanted
from mailserver.queue.schedule import EXPIRED, Schedule
from mailserver.queue.spool import Spool

TOO_LATE = Status(4, 7)  # delivery time expired
HISTORY = 50  # failed attempts kept for a recipient

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
        reports: Reports,
        schedule: Callable[[], Schedule],
        now: Callable[[], float],
        steady: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._deliveries = deliveries
        self._reports = reports
        self._schedule = schedule
        self._now = now
        self._steady = steady
        self._jitter = jitter
        # By numbers of message and recipient: accepted by other servers, and not recorded yet.
        self._unrecorded: dict[tuple[int, int], outcome.Delivered] = {}

    def known(self, queued: Queued) -> AttemptOutcomes:
        """The outcomes of earlier attempts that could not be recorded."""
        if not self._unrecorded:
            return {}
        seq, unrecorded = queued.message.seq, self._unrecorded
        return {
            each: unrecorded[seq, each.number]
            for each in queued.recipients
            if (seq, each.number) in unrecorded
        }

    async def deliver(
        self, destination: str, queued: Queued, delivery: IDelivery | None = None
    ) -> AttemptOutcomes:
        """Try the recipients, by the engine of their destination or by ``delivery``. Raises
        :class:`~mailserver.errors.StorageError` or ``OSError`` if this server could not make the attempt,
        and :class:`~mailserver.errors.MessageDamaged`."""
        delivery = delivery or self._deliveries.get(destination.partition(":")[0])
        if delivery is None:
            unknown = outcome.Deferred(MAIL_SYSTEM, f"no delivery engine for destination {destination}")
            return dict.fromkeys(queued.recipients, unknown)
        known = self.known(queued)
        if _is_too_late(queued.message, self._now()):
            return {**{each: _too_late(each) for each in queued.recipients}, **known}
        recipients = [each for each in queued.recipients if each not in known] if known else queued.recipients
        if not recipients:
            return known
        outcomes: AttemptOutcomes = await delivery.deliver(queued.message, recipients)
        return {**known, **outcomes} if known else outcomes

    async def record(self, message: QueuedMessage, outcomes: AttemptOutcomes) -> float | None:
        """Record the outcomes, then report them to the senders.

        Returns the due time of the first recipient that still waits, None if none waits. Raises as
        :meth:`deliver` does; then the deliveries stay :meth:`known`.
        """
        numbered = {
            (message.seq, each.number): result
            for each, result in outcomes.items()
            if isinstance(result, outcome.Delivered) and each.destination != LOCAL
        }
        try:
            when = await self._record(message, outcomes)
        except BaseException:
            self._unrecorded.update(numbered)
            raise
        if self._unrecorded:
            for key in numbered:
                self._unrecorded.pop(key, None)
        return when

    async def record_rest(self, load: "Callable[[int], Deferred[Queued | None]]") -> None:
        """Record the deliveries whose record has failed: after the next start they would be repeated.

        ``load`` reads the message with a number."""
        for seq in {seq for seq, _ in self._unrecorded}:
            try:
                queued = await load(seq)
                if queued is not None:
                    await self.record(queued.message, self.known(queued))
            except (MessageDamaged, StorageError, OSError) as error:
                report(AttemptFailed(error=error))

    async def _record(self, message: QueuedMessage, outcomes: AttemptOutcomes) -> float | None:
        delivered: list[QueuedRecipient] = []
        confirmed: dict[QueuedRecipient, outcome.Delivered] = {}
        waiting: list[QueuedRecipient] = []
        over: list[GivenUp] = []
        for each, result in outcomes.items():
            if isinstance(result, outcome.Delivered):
                if each.reverse_path and _is_confirmed(message, each, result):
                    confirmed[each] = result
                else:
                    delivered.append(each)
                continue
            if isinstance(result, outcome.Deferred) and _is_too_late(message, self._now()):
                result = _too_late(each, result)
            tried = self._tried(message, each, result)
            if isinstance(result, outcome.Failed):
                over.append(GivenUp(tried, result.rule))
            elif result.tried and self._schedule().is_over(tried.attempts):
                over.append(GivenUp(tried, EXPIRED))
            else:
                waiting.append(tried)
        left = [*waiting, *(one.recipient for one in over)]
        if left or delivered:
            await self._spool.record_attempt(message, left, delivered)
        _log_outcomes(message, outcomes)
        if confirmed:
            await self._reports.delivered(message, confirmed)
        if late := self._late(message, waiting):
            await self._reports.delayed(message, late)
        if over:
            waiting += await self._reports.failed(message, over)
        return min((each.next for each in waiting), default=None)

    def _late(
        self, message: QueuedMessage, waiting: Sequence[QueuedRecipient]
    ) -> Mapping[QueuedRecipient, float]:
        """The recipients whose sender must be warned now, with the times of their last attempts."""
        schedule, now = self._schedule(), self._now()
        return {
            each: now + max(schedule.expire_after - schedule.age(each.attempts), 0.0)
            for each in waiting
            if each.reverse_path and not each.warned and self._is_late(message, each)
        }

    def _is_late(self, message: QueuedMessage, each: QueuedRecipient) -> bool:
        deadline = message.handling.deadline
        if deadline is None or deadline.mode == "R":
            return self._schedule().is_late(each.attempts) and is_wanted(each.notify, DELAY)
        # A message that was late before it came has been reported by the server before this one.
        return message.received < deadline.when <= self._now() and each.notify.upper() != NEVER

    def _tried(
        self, message: QueuedMessage, each: QueuedRecipient, result: outcome.Deferred | outcome.Failed
    ) -> QueuedRecipient:
        """The recipient after another failed attempt."""
        now, attempts, schedule = self._steady(), each.attempts + 1, self._schedule()
        deadline = message.handling.deadline
        left = inf if deadline is None else deadline.when - self._now()
        latest = now + left if left > 0 else inf  # the deadline must not pass unnoticed
        if isinstance(result, outcome.Deferred) and not result.tried:
            return attrs.evolve(each, next=min(max(result.until or now + schedule.before(1), now), latest))
        next_ = now + schedule.before(attempts) * self._jitter()
        if isinstance(result, outcome.Deferred) and result.until is not None and result.until > now:
            next_ = min(result.until, now + schedule.longest)
        next_ = min(next_, latest)
        attempt = FailedAttempt(self._now(), result.status, result.text, result.host, result.reply)
        return attrs.evolve(each, attempts=attempts, next=next_, history=(*each.history, attempt)[-HISTORY:])


def _is_too_late(message: QueuedMessage, now: float) -> bool:
    """Whether the sender wants the message back (RFC 2852)."""
    deadline = message.handling.deadline
    return deadline is not None and deadline.mode == "R" and deadline.when <= now


def _too_late(each: QueuedRecipient, problem: outcome.Deferred | None = None) -> outcome.Failed:
    last = problem or (each.history[-1] if each.history else None)
    text = "the time that the sender has set for the delivery is over"
    if last is None:
        return outcome.Failed(TOO_LATE, text)
    return outcome.Failed(
        TOO_LATE, f"{text}; the last problem was: {last.text}", host=last.host, reply=last.reply
    )


def _is_confirmed(message: QueuedMessage, each: QueuedRecipient, result: outcome.Delivered) -> bool:
    """Whether this server reports the success: the sender wants it, and no other server does it; or the
    message with a deadline goes on to a server that does not know it, or is traced (RFC 2852)."""
    if is_wanted(each.notify, SUCCESS) and not result.reports:
        return True
    deadline = message.handling.deadline
    if deadline is None or each.destination == LOCAL or each.notify.upper() == NEVER:
        return False
    return deadline.trace or not result.deadline


def _log_outcomes(message: QueuedMessage, outcomes: AttemptOutcomes) -> None:
    """Report the delivered recipients, and the deferred ones, by their reasons.

    ``Reports`` reports the failed ones."""
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
