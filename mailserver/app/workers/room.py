"""The room in mailboxes with a quota, which the first worker knows: only it delivers to them."""

from twisted.internet.defer import Deferred

from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.interfaces import IMailboxStore
from mailserver.mail.address import Address
from mailserver.store.quota import QuotaOf

HAS_ROOM = "has room"  # the question to the first worker


class RoomOfMailboxes:
    """Answers whether a mailbox has room, on any worker."""

    def __init__(self, store: IMailboxStore, quota_of: QuotaOf, peers: IPeers) -> None:
        self._store = store
        self._quota_of = quota_of
        self._peers = peers
        peers.serve(HAS_ROOM, lambda asked: store.has_room(*asked))

    def has_room(self, mailbox: Address, octets: int) -> "bool | Deferred[bool]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_room`."""
        if self._peers.number == FIRST:
            return self._store.has_room(mailbox, octets)
        if self._quota_of(mailbox) is None:
            return True
        return self._peers.ask(FIRST, HAS_ROOM, (mailbox, octets))
