"""Notices: what all workers must know before a change counts as made.

A worker that does not take a notice in time is killed by the supervisor, and knows everything when it has
started again. So no worker serves with an old state for longer.
"""

from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mailserver.cluster.frames import SUPERVISOR
from mailserver.cluster.interfaces import IPeers
from mailserver.events.base import report
from mailserver.events.cluster import NoticeNotTaken

PATIENCE = 10.0  # seconds
KILL = "kill"  # the question to the supervisor, with the number of a worker


def publish(peers: IPeers, subject: str, value: Any, clock: IReactorTime) -> "Deferred[Any]":
    """Tell all other workers. Fires when each of them has taken the notice, or must start again."""

    def not_taken(failure: Failure, worker: int) -> None:
        report(NoticeNotTaken(worker=worker, subject=subject, error=failure.value))
        peers.tell(SUPERVISOR, KILL, worker)

    told = []
    for worker in peers.others:
        asked: Deferred[Any] = peers.ask(worker, subject, value)
        told.append(asked.addTimeout(PATIENCE, clock).addErrback(not_taken, worker))
    return DeferredList(told)
