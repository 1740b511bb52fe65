"""Changes the queue on request of an administrator: retry, hold, release, remove, expire.

A change is made in batches of messages, in the order of their numbers, so that a queue of any length needs
little memory and other work goes on. Recipients that are being tried are not removed: the outcome of the
attempt counts.
"""

import time
from collections.abc import Callable, Container, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from mailserver.errors import MessageDamaged, StorageError
from mailserver.events.base import report
from mailserver.events.queue import RecipientsHeld, RecipientsReleased, RecipientsRemoved
from mailserver.interfaces import IQueueStarter, IReactor
from mailserver.mail.queued import HELD, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import QueueStarted, Status
from mailserver.mail.words import AddressNames
from mailserver.queue.entries import Listed
from mailserver.queue.interfaces import ISpoolTransaction
from mailserver.queue.reports import GivenUp, Reports
from mailserver.queue.schedule import steady
from mailserver.queue.selection import Selection
from mailserver.queue.spool import Spool
from mailserver.threads.pool import run_in_thread

BATCH = 500  # messages
POSTPONED = 3600.0  # seconds; a crash during a removal leaves the recipients in the queue until then
PATIENCE = 10  # times
PAUSE = 0.1  # seconds
EXPIRED = Status(4, 7)  # delivery time expired

WAITING = ("due", "waiting")
# The states of the recipients that each action changes.
ACTIONS = {
    "retry": WAITING,
    "hold": WAITING,
    "release": ("held",),
    "remove": (),
    "expire": (),
}


class AttemptsInProgress(Protocol):
    """What must be known of the runner."""

    def is_trying(self, destination: str, seq: int) -> bool:
        """Whether the message may be in an attempt for the destination."""

    def forget_failures(self, destination: str) -> None:
        """Try the destination again, even if it was down a moment ago."""

    def unload(self, destination: str, seqs: Container[int]) -> None:
        """Read the messages again before an attempt begins: their recipients have changed in the spool."""


@attrs.frozen
class Progress:
    """What is done so far. ``after`` is the number of the last message, None at the end.

    ``until`` is the last number when the work began, 0 before that: later messages, such as the bounces of
    expired ones, are left alone. ``busy`` counts the recipients that were left alone because they are being
    tried.
    """

    after: int | None = 0
    until: int = 0
    messages: int = 0
    recipients: int = 0
    busy: int = 0


@implementer(IQueueStarter)
class QueueAdministration:
    """Changes the queue of a spool. For the reactor's thread."""

    def __init__(
        self,
        spool: Spool,
        runner: AttemptsInProgress,
        reports: Reports,
        reactor: IReactor,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._runner = runner
        self._reports = reports
        self._reactor = reactor
        self._now = now
        self._steady = steady(now, reactor)

    async def apply(self, action: str, selection: Selection, before: Progress) -> Progress:
        """Apply one of :data:`ACTIONS` to the next batch of messages.

        Raises :class:`~mailserver.errors.StorageError` or ``OSError``.
        """
        assert before.after is not None
        if ACTIONS[action]:
            states = set(ACTIONS[action]).intersection(selection.states or ACTIONS[action])
            selection = attrs.evolve(selection, states=tuple(states) or ("none",))
        page: Sequence[Listed] = await run_in_thread(
            self._reactor, self._spool.view.page, selection, before.after, BATCH
        )
        until = before.until or self._spool.last_seq
        page = [one for one in page if _number(one) <= until]
        if not page:
            return attrs.evolve(before, after=None)
        now = self._steady()
        chosen = [one for each in page if (one := selection.chosen(each, now)) is not None and one.recipients]
        busy = 0
        match action:
            case "retry" | "release":
                await self._reschedule(chosen, now)
                self._wake(chosen, now)
            case "hold":
                await self._postpone(chosen, HELD)
            case _:
                chosen, busy = await self._give_up(chosen, expire=action == "expire")
        for one in chosen:
            if action in ("hold", "release"):
                report((RecipientsHeld if action == "hold" else RecipientsReleased)(**_fields(one)))
        return Progress(
            _number(page[-1]),
            until,
            before.messages + len(chosen),
            before.recipients + sum(len(one.recipients) for one in chosen),
            before.busy + busy,
        )

    def start_domain(self, domain: str) -> "Deferred[QueueStarted]":
        """See :class:`~mailserver.interfaces.IQueueStarter`."""
        return Deferred.fromCoroutine(self._start_domain(domain))

    async def _start_domain(self, domain: str) -> QueueStarted:
        selection = Selection(domain=domain)
        first = await self.apply("retry", selection, Progress())
        if first.after is None:
            return QueueStarted(0)
        rest = await self.apply("retry", selection, first)
        if rest.after is None:
            return QueueStarted(first.messages)
        # The client need not wait for the others. An error leaves them to the schedule.
        Deferred.fromCoroutine(self._retry_all(selection, rest)).addErrback(
            lambda failure: failure.trap(StorageError, OSError) and None
        )
        return QueueStarted(rest.messages, more=True)

    async def _retry_all(self, selection: Selection, done: Progress) -> None:
        while done.after is not None:
            done = await self.apply("retry", selection, done)

    def _reschedule(self, messages: Sequence[Listed], when: float) -> "Deferred[None]":
        def change(transaction: ISpoolTransaction) -> None:
            for one in messages:
                transaction.reschedule(_number(one), [each.number for each in one.recipients], when)

        return self._spool.change(change)

    async def _postpone(self, messages: Sequence[Listed], when: float) -> None:
        await self._reschedule(messages, when)
        destinations: dict[str, set[int]] = {}
        for one in messages:
            for each in one.recipients:
                destinations.setdefault(each.destination, set()).add(_number(one))
        for destination, seqs in destinations.items():
            self._runner.unload(destination, seqs)

    def _wake(self, messages: Sequence[Listed], now: float) -> None:
        destinations = {each.destination for one in messages for each in one.recipients}
        for destination in destinations:
            self._runner.forget_failures(destination)
        if destinations:
            self._spool.waits(destinations, now)

    # ------------------------------------------------------------ the end of recipients

    async def _give_up(self, messages: Sequence[Listed], *, expire: bool) -> tuple[list[Listed], int]:
        """Remove or bounce recipients. Returns them, and the number of those that are being tried."""
        # From here on no attempt begins for them.
        later = self._steady() + POSTPONED
        waiting = [
            one for each in messages if (one := Selection(states=WAITING).chosen(each, later)) is not None
        ]
        await self._postpone(waiting, later)
        for _ in range(PATIENCE):
            if not any(map(self._is_tried, messages)):
                break
            await deferLater(self._reactor, PAUSE)
        done: list[Listed] = []
        busy = 0
        for one in messages:
            free = attrs.evolve(
                one,
                recipients=tuple(
                    each
                    for each in one.recipients
                    if not self._runner.is_trying(each.destination, _number(one))
                ),
            )
            busy += len(one.recipients) - len(free.recipients)
            if free.recipients and (gone := await self._end(free, expire=expire)) is not None:
                done.append(gone)
        return done, busy

    def _is_tried(self, one: Listed) -> bool:
        seq = _number(one)
        return any(self._runner.is_trying(each.destination, seq) for each in one.recipients)

    async def _end(self, one: Listed, *, expire: bool) -> Listed | None:
        """Remove or bounce these recipients. Returns those that were still there."""
        try:
            queued = await run_in_thread(self._reactor, self._spool.load, _number(one))
        except MessageDamaged:
            return None  # the next attempt sets it aside
        numbers = {each.number for each in one.recipients}
        found = [each for each in queued.recipients if each.number in numbers] if queued is not None else []
        if queued is None or not found:
            return None
        there = {each.number for each in found}
        one = attrs.evolve(one, recipients=tuple(each for each in one.recipients if each.number in there))
        if not expire:
            await self._spool.record_attempt(queued.message, (), found)
            report(RecipientsRemoved(**_fields(one)))
            return one
        over = [GivenUp(self._expired(each), "queue expire") for each in found]
        await self._reports.failed(queued.message, over)
        return one

    def _expired(self, each: QueuedRecipient) -> QueuedRecipient:
        last = each.history[-1] if each.history else FailedAttempt(0.0, EXPIRED, "no attempt was made")
        text = f"the postmaster has ended the delivery attempts; the last problem was: {last.text}"
        attempt = FailedAttempt(self._now(), EXPIRED, text, last.host, last.reply)
        return attrs.evolve(each, history=(*each.history, attempt))


def _number(one: Listed) -> int:
    assert isinstance(one.seq, int)
    return one.seq


def _fields(one: Listed) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "sender": f"<{one.reverse_path}>",
        "mailboxes": AddressNames([each.address for each in one.recipients]),
        "recipients": AddressNames(dict.fromkeys(each.recipient for each in one.recipients)),
    }
