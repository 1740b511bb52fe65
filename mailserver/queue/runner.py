"""The runner: recipients that could not be delivered are tried again, and given up in the end.

The age of a message is counted in attempts, each with the time that the schedule puts before it: a
clock that jumps makes no storm of retries and no early report. A report goes to the reverse-path
(RFC 3464), never to the null one (RFC 5321 section 4.5.5); while it has nowhere to go, the message
stays in the spool.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailserver.durable.calls import Statement
from mailserver.errors import MessageDamaged, StorageError
from mailserver.interfaces import IReactor, IRouter
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import new_id
from mailserver.mail.report import Failed, failure_report, header_of
from mailserver.mail.verdict import MAILBOX_FULL, Routed
from mailserver.mail.words import Names
from mailserver.queue import entries
from mailserver.queue.entries import Entry, SpooledContent, Waiting
from mailserver.queue.incoming import deliveries
from mailserver.queue.spool import FULL, QUOTA, Spool
from mailserver.queue.writer import Job

AT_ONCE = 4  # attempts; each has its message in memory


@attrs.frozen
class Schedule:
    """The times between attempts, in seconds; the last one repeats until ``expire_after``."""

    retry: tuple[float, ...]
    expire_after: float

    def before(self, attempt: int) -> float:
        """The time between an attempt that failed, counted from 1, and the next."""
        return self.retry[min(attempt, len(self.retry)) - 1]

    def is_over(self, attempts: int) -> bool:
        """Whether so many failed attempts are enough."""
        listed = self.retry[: attempts - 1]
        return sum(listed) + self.retry[-1] * (attempts - 1 - len(listed)) >= self.expire_after


@attrs.define(eq=False)
class Attempt(Job):
    """Another attempt for recipients of a message; what it delivers is a row of its own."""

    message: Entry = attrs.field(kw_only=True)
    recipients: Sequence[Waiting] = attrs.field(kw_only=True)
    fails: Callable[[Waiting], Waiting] = attrs.field(kw_only=True)
    left: tuple[Waiting, ...] = ()

    def entry(self) -> Entry | None:
        """See :class:`Job`."""
        if not self.staged.copies:
            return None
        kept = any(not copy.source for copy in self.staged.copies)
        return attrs.evolve(
            self.message,
            seq=self.seq,
            copies=self.staged.copies,
            waiting=(),
            content=self.message.content if kept else None,
        )

    def statements(self) -> Iterable[Statement]:
        """See :class:`Job`."""
        full = set(self.staged.full)
        self.left = tuple(self.fails(each) for each in self.recipients if each.delivery in full)
        gone = [each for each in self.recipients if each.delivery not in full]
        return entries.attempted(self.message.seq, self.left, gone)


class Runner:
    """Tries what waits in a spool. For the reactor's thread."""

    _log = Logger()

    def __init__(
        self,
        spool: Spool,
        router: IRouter,
        hostname: str,
        schedule: Callable[[], Schedule],
        reactor: IReactor,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._router = router
        self._hostname = hostname
        self._schedule = schedule
        self._reactor = reactor
        self._now = now
        # The planned attempts, a heap: when each is due by the reactor's clock, and its row.
        self._planned: list[tuple[float, int]] = []
        self._timer: IDelayedCall | None = None
        self._busy: set[Deferred[None]] = set()
        self._stopped = False

    def start(self) -> None:
        """Plan what the spool holds, and what will come to wait. Blocks for a moment."""
        self._spool.waits = self._plan
        for seq, times in self._spool.times():
            self._plan_by(times, seq)

    async def stop(self) -> None:
        """Begin no more attempts, and wait for those that are under way."""
        self._stopped = True
        self._planned.clear()
        self._set_timer()
        while self._busy:
            await next(iter(self._busy))

    def _plan(self, seq: int, waiting: Sequence[Waiting]) -> None:
        self._plan_by([(each.next, each.attempts) for each in waiting], seq)

    def _plan_by(self, times: Sequence[tuple[float, int]], seq: int) -> None:
        """Plan the next attempt for a row, by ``next`` and ``attempts`` of each of its recipients."""
        due = min(next_ for next_, _ in times) - self._now()
        # Whatever the clock says, nobody waits longer than the schedule wants.
        longest = max(self._schedule().before(attempts) for _, attempts in times)
        self._plan_in(min(max(due, 0.0), longest), seq)

    def _plan_in(self, delay: float, seq: int) -> None:
        if not self._stopped:
            heappush(self._planned, (self._reactor.seconds() + delay, seq))
            self._set_timer()

    def _set_timer(self) -> None:
        """Have the first planned attempt begin when it is due, unless a worker comes to it by itself."""
        at = self._planned[0][0] if self._planned and len(self._busy) < AT_ONCE else None
        if self._timer is not None and self._timer.active():
            if at is not None and self._timer.getTime() <= at:
                return
            self._timer.cancel()
        self._timer = None
        if at is not None:
            self._timer = self._reactor.callLater(max(at - self._reactor.seconds(), 0.0), self._begin_due)

    def _next_due(self) -> int | None:
        if self._planned and self._planned[0][0] <= self._reactor.seconds():
            return heappop(self._planned)[1]
        return None

    def _begin_due(self) -> None:
        """Start workers for what is due; a small number of them does all the attempts."""
        while len(self._busy) < AT_ONCE and (seq := self._next_due()) is not None:
            done = Deferred.fromCoroutine(self._work(seq))
            self._busy.add(done)
            done.addBoth(self._worked, done)
        self._set_timer()

    async def _work(self, first: int) -> None:
        """Make an attempt for this row, then for all that are due meanwhile."""
        seq: int | None = first
        while seq is not None:
            try:
                await self._attempt(seq)
            except (StorageError, MessageDamaged, OSError) as error:
                self._log.error("an attempt failed: {error}", error=error)
                self._plan_in(self._schedule().before(1), seq)
            except Exception:  # noqa: BLE001 - a bug costs the message one attempt
                self._log.failure("an attempt failed")
                self._plan_in(self._schedule().before(1), seq)
            seq = self._next_due()

    def _worked(self, _: object, done: Deferred[None]) -> None:
        self._busy.discard(done)
        self._set_timer()

    async def _attempt(self, seq: int) -> None:
        pool = self._reactor.getThreadPool()
        entry = await deferToThreadPool(self._reactor, pool, self._spool.load, seq)
        if entry is None or not entry.waiting:
            return
        left = await self._try(entry, entry.waiting)
        over = [each for each in left if self._schedule().is_over(each.attempts)]
        for to in {each.reverse_path: None for each in over}:
            told = [each for each in over if each.reverse_path == to]
            if await self._give_up(entry, to, told):
                left = tuple(each for each in left if each not in told)
        if left:
            self._plan(seq, left)

    async def _try(self, entry: Entry, due: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
        """One attempt; who still waits."""
        job = Attempt(
            self._spool.next_seq(),
            SpooledContent(entry.content or b""),
            [each.delivery for each in due],
            message=entry,
            recipients=due,
            fails=self._failed,
        )
        await self._spool.submit(job)
        left = {each.number for each in job.left}
        self._tell(entry, "delivered", [each for each in due if each.number not in left])
        self._tell(entry, "waiting", [each for each in due if each.number in left], f": {FULL}", rule=QUOTA)
        return job.left

    def _tell(
        self, entry: Entry, outcome: str, recipients: Sequence[Waiting], why: str = "", **fields: str
    ) -> None:
        """One line of the log on an attempt for these recipients, if there are any."""
        if recipients:
            self._log.info(
                "{id}: {outcome}: {sender} to {mailboxes}{why} (attempt {attempt})",
                id=entry.id,
                outcome=outcome,
                sender=f"<{entry.reverse_path}>",
                mailboxes=Names([each.mailbox for each in recipients]),
                recipients=Names(dict.fromkeys(each.recipient for each in recipients)),
                why=why,
                attempt=max(each.attempts for each in recipients) + 1,
                **fields,
            )

    def _failed(self, each: Waiting) -> Waiting:
        """The recipient after one more failed attempt."""
        attempts = each.attempts + 1
        return attrs.evolve(
            each, attempts=attempts, next=self._now() + self._schedule().before(attempts), error=FULL
        )

    async def _give_up(self, entry: Entry, reverse_path: str, over: Sequence[Waiting]) -> bool:
        """Report and forget recipients; False if the report has nowhere to go."""
        changes = list(entries.attempted(entry.seq, (), over))
        fields = {
            "id": entry.id,
            "sender": f"<{reverse_path}>",
            "mailboxes": Names([each.mailbox for each in over]),
            "recipients": Names(dict.fromkeys(each.recipient for each in over)),
            "reason": over[0].error,
            "rule": "queue.expire_after",
        }
        if not reverse_path:
            self._log.error(
                "{id}: gave up: {sender} to {mailboxes}: {reason}; null reverse-path, no bounce ({rule})",
                **fields,
            )
            await self._spool.change(changes)
            return True
        to = Address.parse(reverse_path)
        routed = await self._router.route(to)
        if not isinstance(routed, Routed):
            self._log.error(
                "{id}: waiting: {sender} to {mailboxes}: {reason}; the bounce has nowhere to go ({rule})",
                **fields,
            )
            return False
        envelope = Envelope(new_id(), None, (to,), routed.destinations)
        report = failure_report(
            hostname=self._hostname, to=to, id=envelope.id, message_id=entry.id, received=entry.received,
            now=self._now(), header=header_of(entry.content or b""),
            failed=tuple(Failed(each.recipient, MAILBOX_FULL, each.error) for each in over),
        )  # fmt: skip
        await self._spool.accept(
            SpooledContent(report),
            envelope,
            deliveries(envelope, b"", len(report)),
            changes,
            must_be_taken=True,
        )
        self._log.info(
            "{id}: gave up: {sender} to {mailboxes}: {reason}; bounce {report} sent ({rule})",
            report=envelope.id,
            **fields,
        )
        return True
