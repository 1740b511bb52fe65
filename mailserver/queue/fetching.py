"""Mail that a server fetches for its domains (ATRN, RFC 2645).

All messages that wait for a domain are tried, also those whose next attempt is due later, one after the other
by the connection of the server. They are attempts of the runner: with the same records and events, and never
while another attempt has the message.
"""

from collections.abc import Callable, Collection, Sequence
from math import nextafter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from mailserver.errors import MessageDamaged
from mailserver.events.base import report
from mailserver.events.queue import QueueUnreadable
from mailserver.interfaces import IDelivery, IMailFetcher, IReactor
from mailserver.mail.queued import HELD, remote_destination
from mailserver.queue.active import ActiveDestination
from mailserver.queue.entries import Queued
from mailserver.queue.runner import Runner
from mailserver.queue.spool import Spool
from mailserver.threads.pool import run_in_thread

BATCH = 20  # messages that are read together
MOST_LEFT = 100  # messages that the server does not take, until the fetch ends
PATIENCE = 50  # times
PAUSE = 0.1  # seconds
ALL = nextafter(HELD, 0.0)  # due before this time: all that are not held


class FetchingRunner(Runner):
    """A runner that lets one fetch make the attempts of a destination in place of its turns."""

    def take(self, name: str) -> ActiveDestination | None:
        """Take the turn of a destination: until :meth:`give_back` only :meth:`try_now` begins attempts for
        it. Returns None if it has a turn already, or if the runner is stopped."""
        if self._stopped or self._window.is_taken(name):
            return None
        self._window.reserve(name)
        return self._active.setdefault(name, ActiveDestination(name, self._reachability.is_proven(name)))

    def try_now(
        self, active: ActiveDestination, seq: int, queued: Queued | Exception, delivery: IDelivery
    ) -> "Deferred[None]":
        """Try a message by ``delivery``, in place of the engine of its destination."""
        active.busy.add(seq)
        self._count(active, 1)
        return self._start(self._attempt(active, seq, queued, delivery))

    def give_back(self, active: ActiveDestination) -> None:
        """The destination has its turns again."""
        self._window.done(active.name)
        if not self._stopped:
            active.more = True
            self._ended(active)


@implementer(IMailFetcher)
class MailFetching:
    """Sends waiting messages by connections that other servers have opened. For the reactor's thread."""

    def __init__(
        self,
        spool: Spool,
        runner: FetchingRunner,
        delivery_over: Callable[[Any], IDelivery],
        reactor: IReactor,
    ) -> None:
        """``delivery_over`` makes the delivery engine that uses a connection."""
        self._spool = spool
        self._runner = runner
        self._delivery_over = delivery_over
        self._reactor = reactor

    def waiting(self, domains: Collection[str]) -> "Deferred[Sequence[str]]":
        """See :class:`~mailserver.interfaces.IMailFetcher`."""

        def look() -> Sequence[str]:
            return [one for one in domains if self._spool.is_waiting(remote_destination(one))]

        return run_in_thread(self._reactor, look)

    def fetch(self, domains: Sequence[str], to: object, is_over: Callable[[], bool]) -> "Deferred[None]":
        """See :class:`~mailserver.interfaces.IMailFetcher`."""
        return Deferred.fromCoroutine(self._fetch_all(domains, self._delivery_over(to), is_over))

    async def _fetch_all(
        self, domains: Sequence[str], delivery: IDelivery, is_over: Callable[[], bool]
    ) -> None:
        for domain in domains:
            if not is_over():
                await self._fetch(remote_destination(domain), delivery, is_over)

    async def _fetch(self, destination: str, delivery: IDelivery, is_over: Callable[[], bool]) -> None:
        active = self._runner.take(destination)
        for _ in range(PATIENCE):  # turns are short
            if active is not None or is_over():
                break
            await deferLater(self._reactor, PAUSE)
            active = self._runner.take(destination)
        if active is None:
            return
        tried: set[int] = set()
        try:
            while not is_over() and len(tried) < MOST_LEFT:
                found, _ = await run_in_thread(
                    self._reactor, self._spool.read_due, destination, ALL, BATCH, (*active.busy, *tried)
                )
                if not found:
                    break
                for seq, queued in found:
                    if not is_over():
                        await self._runner.try_now(active, seq, queued, delivery)
                        tried.add(seq)
                tried = await run_in_thread(self._reactor, self._left, destination, tried)
        except OSError as error:
            report(QueueUnreadable(error=error))
        finally:
            self._runner.give_back(active)

    def _left(self, destination: str, tried: Collection[int]) -> set[int]:
        """Those of the messages that still wait for the destination."""
        return {seq for seq in tried if self._still_waits(destination, seq)}

    def _still_waits(self, destination: str, seq: int) -> bool:
        try:
            queued = self._spool.load(seq, destination)
        except MessageDamaged:
            return True
        return queued is not None and bool(queued.recipients)
