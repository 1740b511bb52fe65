"""Removes messages that have been in their mailboxes for the retention time (RFC 2449 section 6.7), or in the
quarantine for its time."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from mailserver.errors import MaildropInUse
from mailserver.events.base import report
from mailserver.events.storage import ExpiryFailed, MessagesExpired
from mailserver.interfaces import IMailboxStore, IMaildrops, IReactor
from mailserver.mail.address import Address
from mailserver.mail.retention import Retention
from mailserver.queue.schedule import steady

T = TypeVar("T")

FIRST = 600.0  # seconds after the start
EVERY = 6 * 3600.0  # seconds


class Expiry(Service):
    """Looks through all mailboxes, one after the other, a few times a day.

    A mailbox with an open session is left for the next time. A message counts as old only if both the system
    clock and the time since the start say so, so that no jump of the clock removes mail.
    """

    def __init__(
        self,
        store: IMailboxStore,
        maildrops: IMaildrops,
        retentions: Callable[[], Mapping[Address, Retention]],
        quarantine: Callable[[], Sequence[Address]],
        expire: Callable[[Address, float], Awaitable[None]],
        reactor: IReactor,
        now: Callable[[], float],
    ) -> None:
        """``retentions`` returns those in force, ``quarantine`` the mailboxes of the quarantine. ``expire``
        removes from one of these what is to expire by a time. ``now`` is the time in seconds since the
        epoch."""
        self._store = store
        self._maildrops = maildrops
        self._retentions = retentions
        self._quarantine = quarantine
        self._expire = expire
        self._reactor = reactor
        self._now = now
        self._steady = now
        self._timer: IDelayedCall | None = None
        self._sweeping: Deferred[None] | None = None

    def startService(self) -> None:
        Service.startService(self)
        self._steady = steady(self._now, self._reactor)
        self._timer = self._reactor.callLater(FIRST, self._sweep)

    def stopService(self) -> Deferred[None] | None:
        """The removals in progress finish first."""
        Service.stopService(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return self._sweeping

    def _sweep(self) -> None:
        self._sweeping = Deferred.fromCoroutine(self._look_through())
        self._sweeping.addBoth(self._rest)

    def _rest(self, result: T) -> T:
        self._sweeping = None
        if self.running:
            self._timer = self._reactor.callLater(EVERY, self._sweep)
        return result  # twisted logs a failure

    async def _look_through(self) -> None:
        for mailbox, retention in self._retentions().items():
            await self._try(self._remove, mailbox, retention)
        for mailbox in self._quarantine():
            await self._try(self._expire, mailbox, self._time())

    async def _try(
        self, remove: Callable[..., Awaitable[None]], mailbox: Address, *arguments: object
    ) -> None:
        if not self.running:
            return
        try:
            await remove(mailbox, *arguments)
        except MaildropInUse:
            return
        except Exception as error:  # noqa: BLE001 - the other mailboxes must not wait for this one
            report(ExpiryFailed(mailbox=str(mailbox), error=error))

    def _time(self) -> float:
        return min(self._now(), self._steady())

    async def _remove(self, mailbox: Address, retention: Retention) -> None:
        before = self._time() - retention.seconds
        if not await self._store.has_before(mailbox, before):
            return
        maildrop = await self._maildrops.maildrop(mailbox)
        try:
            due = await maildrop.arrived_before(before)
            failed = await maildrop.remove(due)
        finally:
            maildrop.release()
        if count := len(due) - len(failed):
            report(MessagesExpired(mailbox=str(mailbox), count=count, rule="pop3.expire"))
