"""Locks and lists mailboxes in PostgreSQL.

A POP3 session has a lease for its mailbox, so that no session on any server has it at the same time.
"""

import time
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from zope.interface import implementer

from mailserver.errors import MaildropInUse, StorageRefused, storage_error
from mailserver.events.base import report
from mailserver.events.database import LeaseNotReleased
from mailserver.interfaces import IMailboxStore, IMailboxView, IMaildrop
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from mailserver.mail.snapshot import Snapshot
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import PostgreSQLDatabase
from mailserver.postgresql.errors import DatabaseConnection
from mailserver.postgresql.transaction import LIMITS
from mailserver.store.names import mailbox_path
from mailserver.store.postgresql import rows
from mailserver.store.postgresql.maildrop import MailboxListing, PostgreSQLMaildrop, PostgreSQLView
from mailserver.store.postgresql.threads import QueryThreads
from mailserver.store.postgresql.writer import PostgreSQLWriter
from mailserver.store.quota import QuotaOf
from mailserver.threads.pool import run_in_thread

_LIST = (
    "SELECT mailbox.id, number, uid, sent, surrogate FROM mailbox JOIN message ON mailbox = mailbox.id"
    " WHERE path = %s ORDER BY number"
)
_USAGE = "SELECT messages, octets FROM mailbox WHERE path = %s"
_HAS_BEFORE = (
    "SELECT EXISTS (SELECT FROM mailbox JOIN message ON mailbox = mailbox.id WHERE path = %s AND came < %s)"
)
_MOVE = "UPDATE message SET mailbox = %s, number = number + %s WHERE mailbox = %s"

KNOWN_FOR = 20.0  # seconds that the usage of a mailbox is known, while less than half of its quota is used
MANY = 10_000  # mailboxes


@implementer(IMailboxStore)
class PostgreSQLStore:
    """The mailboxes of a database. Its methods are called in the reactor's thread."""

    def __init__(
        self,
        database: PostgreSQLDatabase,
        reactor: IReactorThreads,
        quota_of: QuotaOf = lambda mailbox: None,
        current: Callable[[Address], Address] = lambda mailbox: mailbox,
    ) -> None:
        """``current`` gives the place of a mailbox that was moved."""
        self.database = database
        self._reactor = reactor
        self._quota_of = quota_of
        self._threads = QueryThreads(database.connections, reactor)
        self._is_open = False
        # The messages and octets of mailboxes, and until when that is good enough. The writer counts exactly.
        self._usage: dict[str, tuple[int, int, float]] = {}
        # Mailboxes with a session of this server, and those whose lease is being released.
        self._held: set[str] = set()
        self._ending: dict[str, Deferred[None]] = {}
        self.writer = PostgreSQLWriter(database.connections, database.group, quota_of, current)

    def open(self) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.open`. Raises
        :class:`~mailserver.errors.StorageError`."""
        try:
            self.database.open()
        except OSError as error:
            raise storage_error(error) from error
        self._threads.start()
        self._is_open = True

    def close(self) -> "Deferred[None]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.close`."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            for ending in list(self._ending.values()):
                await ending
            await run_in_thread(self._reactor, self.database.close)
            self._threads.stop()

    # ------------------------------------------------------------ sessions

    def maildrop(self, mailbox: Address) -> "Deferred[IMaildrop]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.maildrop`."""
        return Deferred.fromCoroutine(self._maildrop(mailbox))

    async def _maildrop(self, mailbox: Address) -> IMaildrop:
        path = mailbox_path(mailbox)
        while path in self._ending:
            waiting: Deferred[None] = Deferred()
            self._ending[path].chainDeferred(waiting)
            await waiting
        if path in self._held:
            raise MaildropInUse(f"another session has the maildrop of {mailbox}")
        self._held.add(path)
        try:
            fence = await self._threads.run(partial(self.database.leases.take, path))
            if fence is None:
                raise MaildropInUse(f"a session on another server has the maildrop of {mailbox}")
        except BaseException:
            self._held.discard(path)
            raise
        try:
            listed = await self._listed(path)
        except BaseException:
            self._release(path, fence)
            raise
        return PostgreSQLMaildrop(self._threads, listed, path, fence, partial(self._release, path, fence))

    def _release(self, path: str, fence: int) -> "Deferred[None]":
        self._ending[path] = ending = Deferred.fromCoroutine(self._give_back(path, fence))
        if path not in self._held:  # it has ended already
            self._ending.pop(path)
        released: Deferred[None] = Deferred()
        ending.chainDeferred(released)
        return released

    async def _give_back(self, path: str, fence: int) -> None:
        try:
            await self._threads.run(partial(self.database.leases.release, fence))
        except Exception as error:  # noqa: BLE001 - the lease ends by itself
            report(LeaseNotReleased(name=path, error=error))
        self._held.discard(path)
        self._ending.pop(path, None)

    def browse(self, mailbox: Address) -> "Deferred[IMailboxView]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.browse`."""
        return Deferred.fromCoroutine(self._browse(mailbox))

    async def _browse(self, mailbox: Address) -> IMailboxView:
        return PostgreSQLView(self._threads, await self._listed(mailbox_path(mailbox)))

    async def _listed(self, path: str) -> MailboxListing:
        return await self._threads.query(lambda each: _listed(each.execute(_LIST, (path,)).fetchall()))

    # ------------------------------------------------------------ whole mailboxes

    def has_room(self, mailbox: Address, octets: int) -> "bool | Deferred[bool]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_room`."""
        quota, path = self._quota_of(mailbox), mailbox_path(mailbox)
        if quota is None:
            return True
        messages, used, until = self._usage.get(path, (0, 0, 0.0))
        if time.monotonic() < until and quota.admits(2 * messages, 2 * used, octets):
            return True
        return Deferred.fromCoroutine(self._has_room(path, quota, octets))

    async def _has_room(self, path: str, quota: Quota, octets: int) -> bool:
        row = await self._threads.query(lambda each: each.execute(_USAGE, (path,)).fetchone())
        messages, used = row or (0, 0)
        if len(self._usage) >= MANY:
            self._usage.clear()
        self._usage[path] = (messages, used, time.monotonic() + KNOWN_FOR)
        return quota.admits(messages, used, octets)

    def has_before(self, mailbox: Address, when: float) -> "Deferred[bool]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_before`."""
        values = (mailbox_path(mailbox), when)
        return self._threads.query(lambda each: each.execute(_HAS_BEFORE, values).fetchone() == (True,))

    def check_move(self, old: Address, new: Address) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.check_move`."""
        try:
            taken = has_messages(self.database.connections, new)
        except OSError as error:
            raise storage_error(error) from error
        if taken:
            raise StorageRefused(f"the mailbox {new} has messages already")

    def move(self, old: Address, new: Address) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.move`."""
        move = partial(_move, source=mailbox_path(old), target=mailbox_path(new))
        try:
            self.database.connections.run(move)
        except OSError as error:
            raise storage_error(error) from error


def has_messages(connections: Connections, mailbox: Address) -> bool:
    """Whether a mailbox has messages. Blocks; raises ``OSError``."""
    path = mailbox_path(mailbox)
    row = connections.run(lambda each: each.execute(_USAGE, (path,)).fetchone())
    return row is not None and row[0] > 0


def _listed(found: Sequence[tuple[Any, ...]]) -> MailboxListing:
    surrogates = {index: row[4] for index, row in enumerate(found) if row[4] is not None}
    snapshot = Snapshot((row[2] for row in found), (row[3] for row in found), surrogates)
    return MailboxListing(found[0][0] if found else 0, array("Q", (row[1] for row in found)), snapshot)


def _move(connection: DatabaseConnection, source: str, target: str) -> None:
    rows.create(connection, [source, target])
    with connection.transaction():
        connection.execute(LIMITS)
        boxes = rows.lock(connection, [source, target])
        old, new = boxes[source], boxes[target]
        connection.execute(_MOVE, (new.id, new.last, old.id))
        new.last += old.last
        new.messages += old.messages
        new.octets += old.octets
        old.messages = old.octets = 0
        rows.save(connection, [old, new])
