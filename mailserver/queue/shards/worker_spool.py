"""The spool of another worker than the first.

It accepts messages whose recipients are all mailboxes here, with room for them. All other messages go to the
first worker as a whole, which has the queue. If the first worker does not answer, the client gets a 4xx and
sends the message again; it may have been accepted nevertheless, and is then there twice.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.durable.damaged import DamagedFolder
from mailserver.errors import StorageError, storage_error
from mailserver.interfaces import Delivery, IContent, IMailboxStore, IReactor
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.queued import QueuedRecipient
from mailserver.queue.entries import RecordedAttempt
from mailserver.queue.interfaces import ISpoolEngine, ISpoolTransaction
from mailserver.queue.jobs import Arrival
from mailserver.queue.recovery import Recovery
from mailserver.queue.shards.forwarding import ACCEPT, ForwardedContents, ForwardedMessage
from mailserver.queue.spool import Spool
from mailserver.threads.pool import run_in_thread


class MailboxUndecided(StorageError):
    """The first worker must decide about a mailbox, which is full, or nearly so."""


@attrs.define(eq=False)
class ShardArrival(Arrival):
    """A new message for mailboxes here that have room for it."""

    def record(self, transaction: ISpoolTransaction, check_room: Callable[[], None]) -> None:
        """See :class:`~mailserver.queue.writer.Job`. Raises :class:`MailboxUndecided`."""
        if self.staged.full:
            raise MailboxUndecided
        super().record(transaction, check_room)


class WorkerSpool(Spool):
    """A spool that forwards to the first of its ``peers``. ``forwarded`` makes the copies of contents."""

    arrival_class = ShardArrival

    def __init__(
        self,
        store: IMailboxStore,
        engine: ISpoolEngine,
        spill: Path,
        damaged: DamagedFolder,
        reactor: IReactor,
        *,
        peers: IPeers,
        forwarded: ForwardedContents,
        **options: Any,
    ) -> None:
        """For the other arguments see :class:`Spool`."""
        super().__init__(store, engine, spill, damaged, reactor, **options)
        self._peers = peers
        self._forwarded = forwarded

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
        """See :class:`Spool`."""

        def forward() -> "Deferred[Collection[Address]]":
            return Deferred.fromCoroutine(
                self._forward(content, envelope, deliveries, remote, recorded, together)
            )

        def full(failure: Failure) -> "Deferred[Collection[Address]]":
            failure.trap(MailboxUndecided)
            return forward()

        if remote or recorded is not None or envelope.reports or not deliveries:
            return forward()
        return super().accept(content, envelope, deliveries, together=together).addErrback(full)

    def _recover(self) -> Recovery:
        self._forwarded.remove_left_over()
        return super()._recover()

    async def _forward(self, content: IContent, *rest: Any) -> Collection[Address]:
        try:
            copy = await run_in_thread(self._reactor, self._forwarded.copy, content)
        except OSError as error:
            raise storage_error(error) from error
        try:
            rejected: Collection[Address] = await self._peers.ask(
                FIRST, ACCEPT, ForwardedMessage(copy, *rest)
            )
        finally:
            await run_in_thread(self._reactor, self._forwarded.remove, copy)
        return rejected
