"""The ``maildir`` engine: mailboxes as Maildirs, which other programs may read and write, too.

The Maildir of alice@example.org is ``example.org/alice/`` below the root. ``names`` has the naming,
``delivery`` how messages get in, ``listing`` and ``maildrop`` how they are seen, read and removed.
Between sessions of this server the lock of a mailbox is exclusive (RFC 1939 section 4); other
programs neither know nor need it.
"""

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from mailserver.durable.disk import Disk
from mailserver.errors import MaildropInUse, StorageError, storage_error
from mailserver.interfaces import Delivery, IContent, IMailboxStore, IMaildrop
from mailserver.mail.address import Address
from mailserver.store.delivery import DeliveryWriter
from mailserver.store.folders import FolderRefused
from mailserver.store.listing import Listing, Listings, scan
from mailserver.store.maildrop import Maildrop
from mailserver.store.names import mailbox_folder


@implementer(IMailboxStore)
class MaildirStore:
    """Mailboxes below ``root``. Its methods are called in the reactor's thread."""

    _log = Logger()

    def __init__(self, root: Path, hostname: str, disk: Disk, reactor: IReactorThreads) -> None:
        self._root = root
        self._hostname = hostname
        self._disk = disk
        self._reactor = reactor
        self._listings = Listings()
        self._locked: set[Path] = set()
        self._writer: DeliveryWriter | None = None

    def open(self) -> None:
        """Make the root if it is missing. Raises :class:`~mailserver.errors.StorageError`."""
        try:
            self._disk.make_dirs(self._root)
            self._writer = DeliveryWriter(self._root, self._hostname, self._disk, self._reactor)
        except OSError as error:
            raise storage_error(error) from error

    def close(self) -> "Deferred[None]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.close`."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    def deliver(self, content: IContent, deliveries: Sequence[Delivery]) -> "Deferred[None]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.deliver`."""
        if self._writer is None:
            return fail(StorageError("the mailbox store is not open"))
        try:
            heads = [(mailbox_folder(self._root, each.mailbox), each.head) for each in deliveries]
        except StorageError as error:
            return fail(error)
        return self._writer.deliver(content, heads).addCallback(self._delivered, heads)

    def _delivered(self, _: None, heads: Sequence[tuple[Path, bytes]]) -> None:
        for box, _head in heads:
            self._listings.outdate(box)

    def maildrop(self, mailbox: Address) -> "Deferred[IMaildrop]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.maildrop`."""
        return Deferred.fromCoroutine(self._maildrop(mailbox))

    async def _maildrop(self, mailbox: Address) -> IMaildrop:
        box = mailbox_folder(self._root, mailbox)
        if box in self._locked:
            raise MaildropInUse(f"another session has the maildrop of {mailbox}")
        self._locked.add(box)
        try:
            listing = await self._listing(box)
        except BaseException:
            self._locked.discard(box)
            raise
        return Maildrop(box, listing, self._disk, self._reactor, lambda: self._locked.discard(box))

    async def _listing(self, box: Path) -> Listing:
        try:
            listing = self._listings.fresh(box)
            if listing is not None:
                return listing
            before = self._listings.last(box)
            known = before.known if before else {}
            pool = self._reactor.getThreadPool()
            listing = await deferToThreadPool(self._reactor, pool, scan, box, known)
        except FolderRefused as error:
            self._log.error("a mailbox is refused: {error}", error=error)
            raise
        except OSError as error:
            raise storage_error(error) from error
        for path in listing.refused - (before.refused if before else frozenset()):
            self._log.warn("not a file of mail, ignored: {path!r}", path=path)
        self._listings.remember(box, listing)
        return listing
