"""Removal waits for the checkpoint, so that a removed message does not come back after a crash.

The message may be in the spool of any worker. So the other workers are asked, after the listing: a worker
that publishes a message knows that before anybody sees it. A worker that starts answers when it has recovered
its spool, and one that has ended gives no answer.
"""

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.cluster.interfaces import IPeers
from mailserver.errors import StorageError
from mailserver.interfaces import IMailboxStore, IMaildrop, IMaildrops, IStoredMessage
from mailserver.mail.address import Address
from mailserver.queue.checkpoint import Checkpoint

SYNCED = "synced"
"""The question whether the spool of a worker has synced all messages with some unique-ids. It has when the
answer comes."""


@implementer(IMaildrops)
class SyncedMaildrops:
    """The maildrops of a store. Messages are synced before they are removed, by each of the workers."""

    def __init__(self, store: IMailboxStore, checkpoint: Checkpoint, peers: IPeers) -> None:
        self._store = store
        self._checkpoint = checkpoint
        self._peers = peers
        peers.serve(SYNCED, checkpoint.synced)

    def maildrop(self, mailbox: Address) -> "Deferred[IMaildrop]":
        """See :class:`~mailserver.interfaces.IMaildrops`."""
        return self._store.maildrop(mailbox).addCallback(SyncedMaildrop, self._checkpoint, self._peers)


@implementer(IMaildrop)
class SyncedMaildrop:
    """A maildrop that syncs messages before it removes them."""

    def __init__(self, maildrop: IMaildrop, checkpoint: Checkpoint, peers: IPeers) -> None:
        self._maildrop = maildrop
        self._checkpoint = checkpoint
        self._peers = peers
        self._removals = 0
        self._released = False
        self.messages = maildrop.messages

    def read(self, index: int) -> "Deferred[bytes | IStoredMessage]":
        """See :meth:`~mailserver.interfaces.IMaildrop.read`."""
        return self._maildrop.read(index)

    def arrived(self, index: int) -> "Deferred[float]":
        """See :meth:`~mailserver.interfaces.IMailboxView.arrived`."""
        return self._maildrop.arrived(index)

    def arrived_before(self, when: float) -> "Deferred[Sequence[int]]":
        """See :meth:`~mailserver.interfaces.IMaildrop.arrived_before`."""
        return self._maildrop.arrived_before(when)

    def remove(self, indexes: Iterable[int]) -> "Deferred[frozenset[int]]":
        """See :meth:`~mailserver.interfaces.IMaildrop.remove`."""
        return Deferred.fromCoroutine(self._remove(list(indexes)))

    async def _remove(self, indexes: Sequence[int]) -> frozenset[int]:
        self._removals += 1
        try:
            uids = [self.messages.uid(index) for index in indexes]
            waiting = self._checkpoint.synced(uids)
            if waiting is not None:
                await waiting
            if uids and self._peers.others:
                await self._peers.ask_others(SYNCED, uids)
            return await self._maildrop.remove(indexes)
        except StorageError:
            if self._released:
                raise
            return frozenset(indexes)
        finally:
            self._removals -= 1
            if self._released and not self._removals:
                self._maildrop.release()

    def release(self) -> "Deferred[None] | None":
        """See :meth:`~mailserver.interfaces.IMaildrop.release`. Removals in progress finish first."""
        self._released = True
        return None if self._removals else self._maildrop.release()
