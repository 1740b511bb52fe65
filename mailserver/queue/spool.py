"""The spool: takes the responsibility for messages, and keeps it until every recipient has its copy.

The package's text has the promise, the states a message goes through, and what is done after a crash.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

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
from mailserver.mail.address import format_path
from mailserver.mail.envelope import Envelope
from mailserver.mail.queued import QueuedRecipient
from mailserver.mail.words import AddressNames
from mailserver.queue.checkpoint import Checkpoint
from mailserver.queue.content import IN_MEMORY_OF_ALL, Content, Room
from mailserver.queue.entries import DamagedPart, Queued
from mailserver.queue.incoming import IncomingMessage
from mailserver.queue.interfaces import ISpoolEngine, ISpoolTransaction, ISpoolView
from mailserver.queue.jobs import Arrival, Put
from mailserver.queue.recovery import Recovery, keep, recover
from mailserver.queue.schedule import steady
from mailserver.queue.writer import Barrier, Change, Job, SpoolWriter
from mailserver.threads.pool import run_in_thread


@implementer(ISpool)
class Spool:
    """Takes messages in for the mailboxes of one store, and keeps those that wait in an ``engine``.

    ``spill`` is where the rest of large messages is kept while they arrive; ``first_retry`` gives the
    seconds until a recipient that has to wait is tried again; ``check_room`` raises ``OSError`` when the
    disk has no room for more.
    """

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
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._engine = engine
        self._spill = spill
        self._damaged = damaged
        self._reactor = reactor
        self._first_retry = first_retry
        self._check_room = check_room
        self._now = now
        self._steady = steady(now, reactor)
        self._room = Room(IN_MEMORY_OF_ALL)
        self._seq = 0
        self._closing = False
        self._sweeping: Deferred[None] | None = None
        self.checkpoint = Checkpoint(self._mailboxes, self.submit, engine.content_of, reactor)
        self._writer = SpoolWriter(
            engine, self._mailboxes, reactor, self.checkpoint.expect, self.checkpoint.add
        )
        self.waits: Callable[[int, float], None] = lambda seq, next_: None

    def _mailboxes(self) -> IMailboxWriter:
        writer: IMailboxWriter = self._store.writer
        return writer

    # ------------------------------------------------------------ open, close

    def open(self) -> None:
        """Open the engine and recover what a crash has left; blocks, after the store is open.

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
            # In one step: the database, its log and the contents belong together.
            reason = f"{path.name}: {error.strerror}"
            where = self._damaged.move(path.parent, "spool", reason)
            report(SpoolDamaged(reason=reason, path=where))
            found = self._recover()
        if found.left:
            self.checkpoint.add_doubtful(found.left)
        report(found.event())

    def _recover(self) -> Recovery:
        self._seq = self._engine.open()
        return recover(self._engine, self._mailboxes(), self._damaged)

    def sweep(self) -> None:
        """Remove the contents that a crash has left without a message; in a thread, after the start."""
        swept = run_in_thread(self._reactor, self._engine.sweep, lambda: not self._closing)
        self._sweeping = swept.addCallbacks(self._swept, lambda failure: report(SpoolSweepFailed(), failure))

    def _swept(self, count: int) -> None:
        if count:
            report(SpoolSwept(count=count))

    async def close(self) -> None:
        """Finish what waits, sync it, and let go. Nothing may be received any more."""
        self._closing = True
        # What fails here is finished at the next start.
        await self.submit(Barrier()).addErrback(lambda failure: failure.trap(StorageError) and None)
        await self.checkpoint.run().addErrback(lambda failure: failure.trap(StorageError) and None)
        self.checkpoint.stop()
        await self._writer.close()
        if self._sweeping is not None:
            await self._sweeping
        self._engine.close()

    # ------------------------------------------------------------ in

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
        replaces: Queued | None = None,
        *,
        must_be_taken: bool = False,
    ) -> "Deferred[None]":
        """Take a message; see :meth:`~mailserver.interfaces.IIncomingMessage.commit`.

        The recipients that it ``replaces`` leave the queue in the same commit, or stay if that fails.
        """
        if self.checkpoint.is_behind:
            return fail(StorageError("too many messages are not yet synced in their mailboxes"))
        job = Arrival(
            self.next_seq(), content, deliveries,
            envelope=envelope, received=self._now(), next=self._steady() + self._first_retry(),
            replaces=replaces, must_be_taken=must_be_taken,
        )  # fmt: skip
        return self.submit(job).addCallback(self._accepted, job)

    def next_seq(self) -> int:
        """A number for a new row."""
        self._seq += 1
        return self._seq

    def _accepted(self, _: None, job: Arrival) -> None:
        if job.waiting:
            report(
                MessageWaiting(
                    id=job.envelope.id,
                    sender=format_path(job.envelope.reverse_path),
                    mailboxes=AddressNames([each.address for each in job.waiting]),
                    recipients=AddressNames(job.envelope.recipients),
                    reason=outcome.FULL.text,
                    client=job.envelope.client or "none",
                    rule=outcome.FULL.rule,
                )
            )
            self.waits(job.seq, job.next)

    def submit(self, job: Job) -> "Deferred[None]":
        """Have a job committed."""
        return self._writer.submit(job)

    # ------------------------------------------------------------ messages that wait

    def put(
        self, message: QueuedMessage, copies: Mapping[QueuedRecipient, Delivery]
    ) -> "Deferred[Collection[QueuedRecipient]]":
        """See :class:`ISpool`."""
        job = Put(self.next_seq(), message.content, list(copies.values()), message=message, copies=copies)
        return self.submit(job).addCallback(lambda _: job.full)

    def record_attempt(
        self, message: QueuedMessage, left: Iterable[QueuedRecipient], gone: Iterable[QueuedRecipient]
    ) -> "Deferred[None]":
        """Record who still waits after an attempt, and who does not."""

        def change(transaction: ISpoolTransaction) -> None:
            transaction.record_attempt(message, left, gone)

        return self.submit(Change(change=change))

    def bring_forward(self, latest: float) -> None:
        """Let nobody wait longer than that (seconds since the epoch). Blocks; raises ``OSError``."""
        self._engine.bring_forward(latest)

    @property
    def view(self) -> ISpoolView:
        """What is in the spool, for people."""
        return self._engine

    def due(self, limit: int) -> list[tuple[int, float]]:
        """The messages that are due first: numbers, and when they are due. May block; raises ``OSError``."""
        return self._engine.due(limit)

    def load(self, seq: int) -> Queued | None:
        """A message that waits, as the spool has it now. May block; raises ``OSError``, and
        :class:`~mailserver.errors.MessageDamaged` if it makes no sense any more."""
        return self._engine.load(seq)

    async def set_aside(self, seq: int, reason: str) -> None:
        """Keep what there is of a message in damaged/ and forget it, or the recipients that make no sense.

        ``reason`` says what was found to be damaged, if not a row. Fails with ``OSError`` or
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
