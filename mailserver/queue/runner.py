"""The queue runner: retries waiting recipients and gives up on them at the end of the schedule.

It knows schedules, attempts and outcomes, but not how a message is delivered. The age of a message is the
sum of the scheduled times between its attempts, so a clock that jumps causes neither a storm of retries nor
an early bounce. A bounce goes to the reverse-path (RFC 3464), never to the null reverse-path (RFC 5321
section 4.5.5). If the bounce cannot be delivered, the message stays in the spool.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mailserver.errors import MessageDamaged, StorageError
from mailserver.events.base import report
from mailserver.events.queue import (
    AttemptBroken,
    AttemptFailed,
    DeliveryDeferred,
    MessageDelivered,
    QueueUnreadable,
)
from mailserver.interfaces import IDelivery, IReactor, IRouter, QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import MAIL_SYSTEM
from mailserver.mail.words import AddressNames
from mailserver.queue.bounce import Bounces
from mailserver.queue.entries import Queued
from mailserver.queue.schedule import Schedule, steady
from mailserver.queue.spool import Spool
from mailserver.queue.window import QueueWindow
from mailserver.threads.pool import run_in_thread

AT_ONCE = 4  # attempts
HISTORY = 50  # failed attempts kept for a recipient
EXPIRED = "queue.expire_after"  # the key that ends the schedule


class Runner:
    """Retries the messages of a spool. ``deliveries`` has the delivery engines, by the first word of their
    destinations. For the reactor's thread."""

    def __init__(
        self,
        spool: Spool,
        deliveries: Mapping[str, IDelivery],
        router: IRouter,
        hostname: str,
        schedule: Callable[[], Schedule],
        reactor: IReactor,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._deliveries = deliveries
        self._bounces = Bounces(spool, router, hostname, now)
        self._schedule = schedule
        self._reactor = reactor
        self._now = now
        self._steady = steady(now, reactor)
        self._window = QueueWindow()
        self._timer: IDelayedCall | None = None
        self._busy: set[Deferred[None]] = set()
        self._stopped = False

    def start(self) -> None:
        """Plan the waiting messages, now and when more arrive. Blocks briefly; raises ``OSError``."""
        now = self._steady()
        # Even if the clock was wrong, no message waits longer than the schedule allows.
        self._spool.bring_forward(now + self._schedule().longest)
        self._window.read(self._spool.due(self._window.wants(now)))
        self._spool.waits = self._waits
        self._set_timer()

    async def stop(self) -> None:
        """Start no more attempts, and wait for those in progress."""
        self._stopped = True
        self._window.clear()
        self._set_timer()
        while self._busy:
            await next(iter(self._busy))

    # ------------------------------------------------------------ scheduling

    def _waits(self, seq: int, when: float) -> None:
        if not self._stopped:
            self._window.plan(when, seq)
            self._set_timer()

    def _set_timer(self) -> None:
        """Set the timer to the next task, unless all workers are busy and will take it."""
        at = self._window.next() if len(self._busy) < AT_ONCE else None
        delay = 0.0 if at is None else max(at - self._steady(), 0.0)
        if self._timer is not None and self._timer.active():
            if at is not None and self._timer.getTime() <= self._reactor.seconds() + delay:
                return
            self._timer.cancel()
        self._timer = None if at is None else self._reactor.callLater(delay, self._begin)

    def _begin(self) -> None:
        """Start workers for due messages, at most :data:`AT_ONCE`."""
        while len(self._busy) < AT_ONCE and (seq := self._window.take(self._steady())) is not None:
            self._start(Deferred.fromCoroutine(self._work(seq)))
        if limit := self._window.wants(self._steady()):
            self._start(Deferred.fromCoroutine(self._read(limit)))
        self._set_timer()

    def _start(self, work: "Deferred[None]") -> None:
        self._busy.add(work)
        work.addBoth(self._worked, work)

    def _worked(self, _: object, work: "Deferred[None]") -> None:
        self._busy.discard(work)
        self._set_timer()

    async def _read(self, limit: int) -> None:
        try:
            due = await run_in_thread(self._reactor, self._spool.due, limit)
        except OSError as error:
            report(QueueUnreadable(error=error))
            self._window.not_read(self._steady() + self._schedule().before(1))
        else:
            if not self._stopped:
                self._window.read(due)

    async def _work(self, first: int) -> None:
        """Make an attempt for this message, then for all others that become due."""
        seq: int | None = first
        while seq is not None:
            plan = self._window.hold
            when: float | None = self._steady() + self._schedule().before(1)
            try:
                when = await self._attempt(seq)
                plan = self._window.plan
            except (StorageError, OSError) as error:
                report(AttemptFailed(error=error))
            except Exception:  # noqa: BLE001 - a bug costs the message one attempt
                report(AttemptBroken(), Failure())
            self._window.done(seq)
            if when is not None and not self._stopped:
                plan(when, seq)
            seq = self._window.take(self._steady())

    # ------------------------------------------------------------ one attempt

    async def _attempt(self, seq: int) -> float | None:
        """Try the due recipients of a message. Returns the next due time, None if no recipient waits."""
        try:
            queued = await run_in_thread(self._reactor, self._spool.load, seq)
            return None if queued is None else await self._try(queued)
        except MessageDamaged as error:
            report(AttemptFailed(error=error))
            await self._spool.set_aside(seq, str(error))
            return self._steady()

    async def _try(self, queued: Queued) -> float | None:
        now = max(self._steady(), min(each.next for each in queued.recipients))
        left = {each.number: each for each in queued.recipients}
        destinations: dict[str, list[QueuedRecipient]] = {}
        for each in queued.recipients:
            if each.next <= now:
                destinations.setdefault(each.destination, []).append(each)
        problem: Exception | None = None
        for destination, recipients in destinations.items():
            try:
                outcomes = await self._deliver(queued.message, destination, recipients)
                await self._record(queued.message, outcomes, left)
            except (StorageError, OSError) as error:
                problem = error  # raised later: the other destinations are tried first
        if problem is not None:
            raise problem
        return min((each.next for each in left.values()), default=None)

    async def _deliver(
        self, message: QueuedMessage, destination: str, recipients: Sequence[QueuedRecipient]
    ) -> Mapping[QueuedRecipient, DeliveryOutcome]:
        delivery = self._deliveries.get(destination.partition(":")[0])
        if delivery is None:
            unknown = outcome.Deferred(MAIL_SYSTEM, f"no delivery engine for destination {destination}")
            return dict.fromkeys(recipients, unknown)
        return await delivery.deliver(message, recipients)

    async def _record(
        self,
        message: QueuedMessage,
        outcomes: Mapping[QueuedRecipient, DeliveryOutcome],
        left: dict[int, QueuedRecipient],
    ) -> None:
        """Record the outcomes, then bounce the recipients that have failed. Updates ``left``, the recipients
        that still wait."""
        delivered = []
        over: dict[str, list[tuple[QueuedRecipient, str]]] = {}
        for each, result in outcomes.items():
            if isinstance(result, outcome.Delivered):
                delivered.append(each)
                del left[each.number]
                continue
            tried = left[each.number] = self._tried(each, result)
            if isinstance(result, outcome.Failed):
                over.setdefault(each.reverse_path, []).append((tried, result.rule))
            elif self._schedule().is_over(tried.attempts):
                over.setdefault(each.reverse_path, []).append((tried, EXPIRED))
        waiting = [left[each.number] for each in outcomes if each.number in left]
        await self._spool.record_attempt(message, waiting, delivered)
        self._log_outcomes(message, outcomes)
        for given_up in over.values():
            recipients = [each for each, _ in given_up]
            if await self._bounces.give_up(Queued(message, tuple(recipients)), given_up[0][1]):
                for each in recipients:
                    del left[each.number]

    def _tried(self, each: QueuedRecipient, result: outcome.Deferred | outcome.Failed) -> QueuedRecipient:
        """The recipient after another failed attempt."""
        now, attempts, schedule = self._steady(), each.attempts + 1, self._schedule()
        next_ = now + schedule.before(attempts)
        if isinstance(result, outcome.Deferred) and result.until is not None and result.until > now:
            next_ = min(result.until, now + schedule.longest)
        history = (*each.history, FailedAttempt(self._now(), result.status, result.text))
        return attrs.evolve(each, attempts=attempts, next=next_, history=history[-HISTORY:])

    def _log_outcomes(
        self, message: QueuedMessage, outcomes: Mapping[QueuedRecipient, DeliveryOutcome]
    ) -> None:
        """Report the delivered recipients, and the deferred ones by reason.

        ``Bounces`` reports the failed ones."""
        same: dict[tuple[str, str], list[QueuedRecipient]] = {}
        for each, result in outcomes.items():
            if isinstance(result, outcome.Delivered):
                same.setdefault(("", ""), []).append(each)
            elif isinstance(result, outcome.Deferred):
                same.setdefault((result.text, result.rule), []).append(each)
        for (reason, rule), recipients in sorted(same.items(), key=lambda one: one[0]):
            fields: dict[str, Any] = {
                "id": message.id,
                "sender": f"<{message.reverse_path}>",
                "mailboxes": AddressNames([each.address for each in recipients]),
                "recipients": AddressNames(dict.fromkeys(each.recipient for each in recipients)),
                "attempt": max(each.attempts for each in recipients) + 1,
            }
            if rule:
                report(DeliveryDeferred(reason=reason, rule=rule, **fields))
            else:
                report(MessageDelivered(**fields))
