"""The spool: takes the responsibility for messages, and keeps it until every mailbox has its own.

The package's text has the promise, the states a message goes through, and what is done after a crash.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from mailserver.durable.calls import Statement
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.database import Damaged, Database
from mailserver.durable.disk import Disk
from mailserver.durable.spill import Spill
from mailserver.errors import MailboxFull, MessageDamaged, StorageError, storage_error
from mailserver.interfaces import Delivery, IContent, IMailboxStore, IReactor, ISpool
from mailserver.mail.address import format_path
from mailserver.mail.envelope import Envelope
from mailserver.mail.verdict import Destination
from mailserver.mail.words import Names
from mailserver.queue import entries
from mailserver.queue.checkpoint import Checkpoint
from mailserver.queue.content import IN_MEMORY_OF_ALL, Content, Room
from mailserver.queue.entries import Entry, SpooledContent, Waiting, address_text
from mailserver.queue.incoming import IncomingMessage
from mailserver.queue.recovery import Found, recover
from mailserver.queue.writer import Barrier, Change, Job, Writer

FULL = "the mailbox is full"
QUOTA = "storage.quota"  # the key that decides on it


@attrs.define(eq=False)
class Arrival(Job):
    """A new message, with changes of the spool that are made with it or not at all.

    ``first_retry`` is when who has to wait is tried again. Nobody is told now if it ``must_be_taken``.
    """

    envelope: Envelope = attrs.field(kw_only=True)
    received: float = attrs.field(kw_only=True)
    first_retry: float = attrs.field(kw_only=True)
    changes: Sequence[Statement] = attrs.field(kw_only=True)
    must_be_taken: bool = attrs.field(kw_only=True)
    waiting: tuple[Waiting, ...] = ()

    def entry(self) -> Entry:
        """See :class:`Job`."""
        content, full = self.content, self.staged.full
        assert content is not None
        if full:
            destinations = {destination.mailbox: destination for destination in self.envelope.destinations}
            waits = [destinations[delivery.mailbox] for delivery in full]
            by_list = any(destination.bounces_to for destination in waits)
            if not (self.staged.copies or by_list or self.must_be_taken):
                raise MailboxFull(FULL, tuple(str(delivery.mailbox) for delivery in full))
            self.waiting = tuple(map(self._wait, range(1, len(full) + 1), full, waits))
        kept = full or self.changes or any(not copy.source for copy in self.staged.copies)
        return Entry(
            self.seq,
            self.envelope.id,
            self.received,
            address_text(self.envelope.reverse_path),
            content.size,
            self.staged.copies,
            self.waiting,
            b"".join(content.chunks()) if kept else None,
        )

    def statements(self) -> Sequence[Statement]:
        """See :class:`Job`."""
        return self.changes

    def _wait(self, number: int, delivery: Delivery, destination: Destination) -> Waiting:
        # A list's owner is told which member it was; a sender only knows the address he used.
        named = destination.mailbox if destination.bounces_to else destination.delivered_to
        return Waiting(
            number=number,
            recipient=str(named),
            reverse_path=address_text(self.envelope.reverse_path_for(destination)),
            mailbox=str(delivery.mailbox),
            head=delivery.head,
            attempts=1,
            next=self.first_retry,
            error=FULL,
        )


@implementer(ISpool)
class Spool:
    """Takes messages in for the mailboxes of one store.

    ``path`` is the database, None for one in memory; ``spill`` is where the rest of large messages
    is kept while they arrive; ``check_room`` raises ``OSError`` when the disk has no room for more.
    """

    _log = Logger()

    def __init__(
        self,
        store: IMailboxStore,
        path: Path | None,
        spill: Path,
        disk: Disk,
        damaged: DamagedFolder,
        reactor: IReactor,
        *,
        first_retry: Callable[[], float],
        check_room: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._path = path
        self._spill = spill
        self._disk = disk
        self._damaged = damaged
        self._reactor = reactor
        self._first_retry = first_retry
        self._check_room = check_room
        self._now = now
        self._room = Room(IN_MEMORY_OF_ALL)
        self._database = Database(path, disk.calls)
        self._seq = 0
        self.checkpoint = Checkpoint(self._mailboxes, self.submit, self.content_of, reactor)
        self._writer = Writer(
            self._database, self._mailboxes, reactor, self.checkpoint.expect, self.checkpoint.add
        )
        self.waits: Callable[[int, Sequence[Waiting]], None] = lambda seq, waiting: None

    def _mailboxes(self) -> Any:
        return self._store.writer

    # ------------------------------------------------------------ open, close

    def open(self) -> None:
        """Open the database and recover what a crash has left; blocks, after the store is open.

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
            assert self._path is not None
            self._database.close()
            # In one step: the database and its log belong together.
            reason = f"{self._path.name}: {error.strerror}"
            where = self._damaged.move(self._path.parent, "spool", reason)
            self._log.critical(
                "the spool is damaged: {reason}; set aside in {where}, with the messages that waited in it",
                reason=reason,
                where=where,
            )
            found = self._recover()
        self._seq = found.last
        if found.left:
            self.checkpoint.add_doubtful(found.left)
        self._log.info("{recovery}", recovery=found)

    def _recover(self) -> Found:
        if self._path is not None:
            self._disk.make_dirs(self._path.parent, below=self._path.parent.parent)
        self._database.open(entries.SCHEMA)
        return recover(self._database, self._store.writer, self._damaged)

    async def close(self) -> None:
        """Finish what waits, sync it, and let go. Nothing may be received any more."""
        # What fails here is finished at the next start.
        await self.submit(Barrier()).addErrback(lambda failure: failure.trap(StorageError) and None)
        await self.checkpoint.run().addErrback(lambda failure: failure.trap(StorageError) and None)
        self.checkpoint.stop()
        await self._writer.close()
        self._database.close()

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
        changes: Sequence[Statement] = (),
        *,
        must_be_taken: bool = False,
    ) -> "Deferred[None]":
        """Take a message; see :meth:`~mailserver.interfaces.IIncomingMessage.commit`."""
        if self.checkpoint.is_behind:
            return fail(StorageError("too many messages are not yet synced in their mailboxes"))
        now = self._now()
        job = Arrival(
            self.next_seq(), content, deliveries,
            envelope=envelope, received=now, first_retry=now + self._first_retry(),
            changes=changes, must_be_taken=must_be_taken,
        )  # fmt: skip
        return self.submit(job).addCallback(self._accepted, job)

    def next_seq(self) -> int:
        """A number for a new row."""
        self._seq += 1
        return self._seq

    def _accepted(self, _: None, job: Arrival) -> None:
        if job.waiting:
            self._log.info(
                "{id}: waiting: {sender} to {mailboxes}: {reason} (client {client}, {rule})",
                id=job.envelope.id,
                sender=format_path(job.envelope.reverse_path),
                mailboxes=Names([each.mailbox for each in job.waiting]),
                recipients=Names(job.envelope.recipients),
                reason=FULL,
                client=job.envelope.client or "none",
                rule=QUOTA,
            )
            self.waits(job.seq, job.waiting)

    def submit(self, job: Job) -> "Deferred[None]":
        """Have a job committed."""
        return self._writer.submit(job)

    def change(self, changes: Sequence[Statement]) -> "Deferred[None]":
        """Have rows changed."""
        return self.submit(Change(changes=changes))

    # ------------------------------------------------------------ looking

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The answer to a query on the rows of ``entries``. May block; raises ``OSError``."""
        return self._database.rows(query, parameters)

    def content_of(self, seq: int) -> SpooledContent | None:
        """The content of a message, if the spool has it. May block; raises ``OSError``."""
        for (content,) in self._database.rows("SELECT content FROM message WHERE seq = ?", (seq,)):
            return None if content is None else SpooledContent(content)
        return None

    def waiting(self) -> Iterator[tuple[int, tuple[Waiting, ...]]]:
        """Who waits, by message. Raises ``OSError``."""
        for (seq,) in self._database.rows("SELECT DISTINCT seq FROM waiting"):
            yield seq, self._waiting_of(seq)

    def times(self) -> Iterator[tuple[int, list[tuple[float, int]]]]:
        """When the next attempts for each message are due, and how many have failed; a pair for each of its
        recipients. Raises ``OSError``."""
        rows = self._database.rows("SELECT seq, next, attempts FROM waiting ORDER BY seq")
        for seq, recipients in groupby(rows, itemgetter(0)):
            yield seq, [(next_, attempts) for _, next_, attempts in recipients]

    def _waiting_of(self, seq: int) -> tuple[Waiting, ...]:
        return tuple(map(entries.read_waiting, self._database.rows(entries.WAITING, (seq,))))

    def load(self, seq: int) -> Entry | None:
        """A message as the spool has it now. May block; raises ``OSError``, and
        :class:`~mailserver.errors.MessageDamaged` if its rows make no sense any more."""
        try:
            for row in self._database.rows(entries.ROW, (seq,)):
                return attrs.evolve(entries.read(row), waiting=self._waiting_of(seq))
        except ValueError as error:
            raise MessageDamaged(f"row {seq} of the spool is damaged: {error}") from error
        return None
