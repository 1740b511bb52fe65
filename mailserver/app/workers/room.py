"""The room in mailboxes with a quota: the first worker decides about it."""

from twisted.internet.defer import Deferred

from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.interfaces import IMailboxStore
from mailserver.mail.address import Address

HAS_ROOM = "has room"  # the question to the first worker


class RoomOfMailboxes:
    """Answers whether a mailbox has room, on any worker."""

    def __init__(self, store: IMailboxStore, peers: IPeers) -> None:
        self._store = store
        self._peers = peers
        peers.serve(HAS_ROOM, lambda asked: store.has_room(*asked))

    def has_room(self, mailbox: Address, octets: int) -> "bool | Deferred[bool]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_room`."""
        here = self._store.has_room(mailbox, octets)
        if here is True or self._peers.number == FIRST:
            return here
        if here is False:
            return self._ask(False, mailbox, octets)
        return here.addCallback(self._ask, mailbox, octets)

    def _ask(self, here: bool, mailbox: Address, octets: int) -> "bool | Deferred[bool]":
        """Ask the first worker, unless there is room for certain."""
        return here or self._peers.ask(FIRST, HAS_ROOM, (mailbox, octets))
