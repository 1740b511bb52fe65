"""ETRN on any worker: the first one has the queue."""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.interfaces import IQueueStarter
from mailserver.mail.verdict import QueueStarted

START_DOMAIN = "start domain"  # the question to the first worker


@implementer(IQueueStarter)
class QueueStarter:
    """Starts deliveries of the queue that the first worker has, by its ``starter``."""

    def __init__(self, starter: IQueueStarter, peers: IPeers) -> None:
        self._starter = starter
        self._peers = peers
        peers.serve(START_DOMAIN, starter.start_domain)

    def start_domain(self, domain: str) -> "Deferred[QueueStarted]":
        """See :class:`~mailserver.interfaces.IQueueStarter`."""
        if self._peers.number == FIRST:
            return self._starter.start_domain(domain)
        return self._peers.ask(FIRST, START_DOMAIN, domain)
