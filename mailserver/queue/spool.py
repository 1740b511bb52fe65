"""The spool: accepts responsibility for messages and keeps it until every recipient has its copy.

The docstring of the package describes the promise, the states of a message, and the recovery after a crash.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mailserver.durable import database
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.database import Damaged
from mailserver.durable.spill import Spill
from mailserver.errors import StorageError, storage_error
from mailserver.events.base import report
from mailserver.events.queue import MessageWaiting, SpoolDamaged, SpoolSweepFailed, SpoolSwept
from mailserver.interfaces import (
    Delivery,
    IContent,
    IMailboxStore,
    IMailboxWriter,
    IReactor,
    ISpool,
    QueuedMessage,
)
from mailserver.mail import outcome
from mailserver.mail.address import Address, format_path
from mailserver.mail.envelope import Envelope
from mailserver.mail.queued import HELD, LOCAL, QueuedRecipient
from mailserver.mail.reported import ReportedRecipient
from mailserver.mail.returned import header_of
from mailserver.mail.words import AddressNames
from mailserver.queue.checkpoint import Checkpoint
from mailserver.queue.content import IN_MEMORY_OF_ALL, Content, Room
from mailserver.queue.entries import (
    DamagedPart,
    InMemoryContent,
    Queued,
    RecordedAttempt,
    address_text,
)
from mailserver.queue.fairness import FairOrder
from mailserver.queue.incoming import IncomingMessage
from mailserver.queue.interfaces import ISpoolEngine, ISpoolTransaction, ISpoolView
from mailserver.queue.jobs import Arrival, Put
from mailserver.queue.recovery import Recovery, keep, recover
from mailserver.queue.requests import accepted
from mailserver.queue.schedule import steady
from mailserver.queue.sqlite.contents import CONTENTS
from mailserver.queue.writer import Barrier, Change, Job, SpoolWriter
from mailserver.threads.durations import Durations
from mailserver.threads.pool import run_in_thread


@implementer(ISpool)
class Spool:
    """Accepts messages for the mailboxes of one store. An ``engine`` stores them.

    ``spill`` is the folder for large messages while they arrive. ``first_retry`` returns the seconds until
    the next attempt for a deferred recipient. ``check_room`` raises ``OSError`` if the disk is full.
    ``absorb`` moves entries of other spools to the opened engine. It gets the highest number in use and
    returns the new one.
    """

    writer_class = SpoolWriter
    arrival_class = Arrival

    def __init__(
        self,
        store: IMailboxStore,
        engine: ISpoolEngine,
        spill: Path,
        damaged: DamagedFolder,
        reactor: IReactor,
        *,
        first_retry: Callable[[], float],
        check_room: Callable[[], None] = lambda: None,
        absorb: Callable[[ISpoolEngine, int], int] = lambda engine, last: last,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._engine = engine
        self._spill = spill
        self._damaged = damaged
        self._reactor = reactor
        self._first_retry = first_retry
        self._check_room = check_room
        self._absorb = absorb
        self._now = now
        self._steady = steady(now, reactor)
        self._room = Room(IN_MEMORY_OF_ALL)
        self.order = FairOrder()
        self._seq = 0
        self._closing = False
        self._sweeping: Deferred[None] | None = None
        self.checkpoint = Checkpoint(self._mailboxes, self.submit, engine.content_of, reactor)
        self._writer = self.writer_class(
            engine, self._mailboxes, reactor, self.checkpoint.expect, self.checkpoint.add, check_room
        )
        self.waits: Callable[[Collection[str], float], None] = lambda destinations, when: None
        self.arrives: Callable[[QueuedMessage, Sequence[QueuedRecipient]], None] = lambda message, who: None
        self.confirms: Callable[[QueuedMessage, Sequence[ReportedRecipient]], None] = lambda message, who: (
            None
        )

    def _mailboxes(self) -> IMailboxWriter:
        writer: IMailboxWriter = self._store.writer
        return writer

    # ------------------------------------------------------------ open, close

    def open(self) -> None:
        """Open the engine and recover from a crash. Call this after the store is open. Blocks.

        Raises :class:`~mailserver.errors.StorageError`.
        """
        try:
            self._open()
        except OSError as error:
            raise storage_error(error) from error

    def _open(self) -> None:
        try:
            found = self._recover()
        except Damaged as error:
            self._engine.close()
            path = Path(error.filename)
            # The database, its log and the contents belong together; the shards in the folder do not.
            *files, last = database.files(path)
            reason = f"{path.name}: {error.strerror}"
            where = self._damaged.move_together([*files, path.parent / CONTENTS, last], "spool", reason)
            report(SpoolDamaged(reason=reason, path=where))
            found = self._recover()
        if found.left:
            self.checkpoint.add_doubtful(found.left)
        report(found.event())

    def _recover(self) -> Recovery:
        self._seq = self._absorb(self._engine, self._engine.open())
        return recover(self._engine, self._mailboxes(), self._damaged)

    def sweep(self) -> None:
        """Remove contents without a message, which a crash may leave. Runs in a thread, after the start."""
        swept = run_in_thread(self._reactor, self._engine.sweep, lambda: not self._closing)
        self._sweeping = swept.addCallbacks(self._swept, lambda failure: report(SpoolSweepFailed(), failure))

    def _swept(self, count: int) -> None:
        if count:
            report(SpoolSwept(count=count))

    async def flush(self) -> None:
        """Commit and sync all messages that were given to the spool before.

        Fails with :class:`~mailserver.errors.StorageError`.
        """
        await self.submit(Barrier())
        await self.checkpoint.run()

    async def close(self) -> None:
        """Commit and sync all messages, then close the engine. No message may be received any more."""
        self._closing = True
        # The next start completes what fails here.
        await self.submit(Barrier()).addErrback(lambda failure: failure.trap(StorageError) and None)
        await self.checkpoint.run().addErrback(lambda failure: failure.trap(StorageError) and None)
        self.checkpoint.stop()
        await self._writer.close()
        if self._sweeping is not None:
            await self._sweeping
        self._engine.close()

    # ------------------------------------------------------------ incoming messages

    def receive(self, envelope: Envelope, trace: bytes) -> IncomingMessage:
        """See :class:`ISpool`."""
        content = Content(self._reactor, self._make_spill, self._room)
        return IncomingMessage(self.accept, content, envelope, trace)

    def _make_spill(self) -> Spill:
        return Spill(self._spill, self._check_room)

    def accept(
        self,
        content: IContent,
        envelope: Envelope,
        deliveries: Sequence[Delivery],
        remote: Sequence[QueuedRecipient] = (),
        recorded: RecordedAttempt | None = None,
        *,
        together: Sequence[Collection[Address]] | None = None,
    ) -> "Deferred[Collection[Address]]":
        """Accept a message for mailboxes here and ``remote`` recipients; see
        :meth:`~mailserver.interfaces.IIncomingMessage.commit`.

        If the message is a report, the attempt that it is about is ``recorded`` in the same commit.
        """
        if self.checkpoint.is_behind:
            return fail(StorageError("too many messages are not yet synced to their mailboxes"))
        now = self._steady()
        job = self.arrival_class(
            self.next_seq(), content, deliveries,
            envelope=envelope, received=self._now(), next=now + self._first_retry(),
            remote=self._in_order(envelope, remote, now) if remote else (),
            recorded=recorded, together=together,
        )  # fmt: skip
        return self.submit(job).addCallback(self._accepted, job)

    def _in_order(
        self, envelope: Envelope, remote: Sequence[QueuedRecipient], now: float
    ) -> list[QueuedRecipient]:
        """The recipients, with due times that are fair to other senders. The sender may hold the message."""
        if envelope.handling.release > now:
            return [each.due_at(envelope.handling.release) for each in remote]
        sender = address_text(envelope.reverse_path)
        if len(remote) == 1:
            (only,) = remote
            return [only.due_at(self.order.due(only.destination, sender, 1, now))]
        due = {
            name: self.order.due(name, sender, count, now)
            for name, count in Counter([each.destination for each in remote]).items()
        }
        return [each.due_at(due[each.destination]) for each in remote]

    @property
    def last_seq(self) -> int:
        """The highest number of a row so far."""
        return self._seq

    def next_seq(self) -> int:
        """The number for a new row."""
        self._seq += 1
        return self._seq

    def _accepted(self, _: None, job: Arrival) -> Collection[Address]:
        if job.full:
            report(
                MessageWaiting(
                    id=job.envelope.id,
                    sender=format_path(job.envelope.reverse_path),
                    mailboxes=AddressNames([each.address for each in job.full]),
                    recipients=AddressNames(job.envelope.recipients),
                    reason=outcome.FULL.text,
                    client=job.envelope.client or "none",
                    rule=outcome.FULL.rule,
                )
            )
            self.waits([LOCAL], job.next)
        if job.envelope.reports:
            self._confirm(job)
        if job.remote:
            assert job.queued is not None
            self.arrives(job.queued, job.remote)
        return job.rejected

    def _confirm(self, job: Arrival) -> None:
        """Report recipients that have the message already, if the sender wants it."""
        waiting = {
            Address.parse(each.address) for each in (*job.full, *job.remote) if each.destination == LOCAL
        }
        successes = list(accepted(job.envelope, waiting, job.rejected))
        if successes:
            message = job.message
            header = InMemoryContent(header_of(message.content.chunks()))  # the content is closed soon
            self.confirms(attrs.evolve(message, content=header), successes)

    @property
    def groups(self) -> Durations:
        """The times that groups of jobs have taken."""
        return self._writer.groups

    @property
    def delivered(self) -> int:
        """The number of copies put into mailboxes since the start."""
        return self._writer.delivered

    @property
    def idle(self) -> bool:
        """True while the writer has no job."""
        return self._writer.idle

    def submit(self, job: Job) -> "Deferred[None]":
        """Give a job to the writer."""
        return self._writer.submit(job)

    # ------------------------------------------------------------ waiting messages

    def put(
        self, message: QueuedMessage, copies: Mapping[QueuedRecipient, Delivery]
    ) -> "Deferred[Collection[QueuedRecipient]]":
        """See :class:`ISpool`."""
        job = Put(self.next_seq(), message.content, list(copies.values()), message=message, copies=copies)
        return self.submit(job).addCallback(lambda _: job.full)

    def record_attempt(
        self, message: QueuedMessage, left: Iterable[QueuedRecipient], gone: Iterable[QueuedRecipient]
    ) -> "Deferred[None]":
        """See :meth:`~mailserver.queue.interfaces.ISpoolTransaction.record_attempt`."""

        def change(transaction: ISpoolTransaction) -> None:
            transaction.record_attempt(message, left, gone)

        return self.submit(Change(change=change))

    def change(self, change: Callable[[ISpoolTransaction], None]) -> "Deferred[None]":
        """Make a change of the rows of waiting messages, in one commit."""
        return self.submit(Change(change=change))

    def bring_forward(self, latest: float) -> None:
        """See :meth:`~mailserver.queue.interfaces.ISpoolEngine.bring_forward`."""
        self._engine.bring_forward(latest)

    @property
    def view(self) -> ISpoolView:
        """The messages of the spool, for listings."""
        return self._engine

    async def copy_to(self, stage: Path, mail: Path, go_on: Callable[[], bool]) -> None:
        """Copy the spool to the new folder ``stage``; see
        :meth:`~mailserver.queue.interfaces.ISpoolEngine.snapshot`. Only one at a time.

        Fails with ``OSError`` or :class:`~mailserver.errors.StorageError`.
        """
        snapshot = self._engine.snapshot(mail, stage, go_on)
        try:
            await self.change(lambda transaction: snapshot.take())
            await run_in_thread(self._reactor, snapshot.write)
        finally:
            snapshot.close()

    def due(self, limit: int) -> list[tuple[str, float]]:
        """See :meth:`~mailserver.queue.interfaces.ISpoolEngine.due`."""
        return self._engine.due(limit)

    def load(self, seq: int, destination: str | None = None) -> Queued | None:
        """See :meth:`~mailserver.queue.interfaces.ISpoolEngine.load`."""
        return self._engine.load(seq, destination)

    def read_due(
        self, destination: str, by: float, limit: int, busy: Collection[int]
    ) -> tuple[list[tuple[int, Queued | Exception]], float | None]:
        """Read messages with the recipients of a destination that are due at ``by``: at most ``limit``, the
        first ones first, none of those in ``busy``. Blocks.

        Returns their numbers, each with the message or with the error of reading it, and the due time of the
        next one, None if no other waits. Raises ``OSError``.
        """
        found: list[tuple[int, Queued | Exception]] = []
        for seq in self._engine.due_messages(destination, by, limit, busy):
            try:
                queued = self._engine.load(seq, destination)
            except Exception as error:  # noqa: BLE001 - even a bug must not hold up the other messages
                found.append((seq, error))
                continue
            due = [each for each in queued.recipients if each.next <= by] if queued is not None else []
            if queued is not None and due:
                others = len(due) < len(queued.recipients)
                found.append((seq, Queued(queued.message, tuple(due), others)))
        return found, self._engine.next_due(destination, [*busy, *(seq for seq, _ in found)])

    def is_waiting(self, destination: str) -> bool:
        """Whether a recipient of the destination waits and is not held. Blocks; raises ``OSError``."""
        first = self._engine.next_due(destination, ())
        return first is not None and first < HELD

    async def set_aside(self, seq: int, reason: str) -> None:
        """Move a damaged message, or its damaged recipients, from the queue to damaged/.

        ``reason`` describes the damage if no row is damaged. Fails with ``OSError`` or
        :class:`~mailserver.errors.StorageError`.
        """
        parts = await run_in_thread(self._reactor, self._keep_damaged, seq, reason)

        def change(transaction: ISpoolTransaction) -> None:
            for part in parts:
                transaction.drop(part)

        await self.submit(Change(change=change))

    def _keep_damaged(self, seq: int, reason: str) -> list[DamagedPart]:
        parts = self._engine.examine(seq) or [self._engine.condemn(seq, reason)]
        for part in parts:
            keep(self._damaged, part)
        return parts
