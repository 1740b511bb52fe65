"""The ``maildir`` engine: mailboxes as Maildirs, which other programs may also read and write.

The Maildir of alice@example.org is ``example.org/alice/`` below the root. ``names`` makes file names,
``writer`` delivers messages, ``listing`` lists them, ``maildrop`` reads and removes them. A POP3 session
locks its mailbox against other sessions of this server (RFC 1939 section 4). Other programs do not use this
lock and do not need it.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IReactorThreads
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.errors import MaildropInUse, storage_error
from mailserver.events.base import report
from mailserver.events.storage import FileIgnored, SizesNotSaved
from mailserver.interfaces import IMailboxStore, IMailboxView, IMaildrop
from mailserver.mail.address import Address
from mailserver.store import sizes
from mailserver.store.arrival import has_before
from mailserver.store.folders import FolderRefused
from mailserver.store.listing import Listing, Listings, scan
from mailserver.store.locks import MailboxLocks
from mailserver.store.maildrop import MailboxView, MaildirMaildrop
from mailserver.store.measure import Measurer
from mailserver.store.move import check_move, move_maildir
from mailserver.store.names import mailbox_path
from mailserver.store.quota import QuotaOf, Quotas
from mailserver.store.writer import MaildirWriter
from mailserver.threads.pool import Threads

LARGE = 256 * 1024  # octets of the folder itself, which then has some thousand names
SCANS = 2  # at once, beside one of a large Maildir: one computes while another waits for the disk

_T = TypeVar("_T")


class _Run(Protocol):
    """A way to run work in a thread."""

    def __call__(self, function: Callable[..., _T], *arguments: object) -> Deferred[_T]: ...


@implementer(IMailboxStore)
class MaildirStore:
    """Mailboxes below ``root``. Its methods are called in the reactor's thread."""

    def __init__(
        self,
        root: Path,
        hostname: str,
        disk: Disk,
        reactor: IReactorThreads,
        *,
        damaged: DamagedFolder,
        quota_of: QuotaOf = lambda mailbox: None,
        reserve: int = 0,
        threads: Threads | None = None,
        current: Callable[[Address], Address] = lambda mailbox: mailbox,
        locks: MailboxLocks | None = None,
        worker: int = 0,
    ) -> None:
        """``reserve`` is how many octets of the disk new mail must leave free; ``threads`` scan Maildirs,
        by default those of the reactor. ``current`` gives the place of a mailbox that was moved.
        ``locks`` are those of the mailboxes, by default of this process alone.
        ``worker``: the number of this worker if there are several; the first one decides about quotas."""
        self._root = root
        self._disk = disk
        self._reactor = reactor
        self._quotas = Quotas(root, quota_of, alone=not worker, decides=worker <= 1)
        self._listings = Listings()
        self.writer = MaildirWriter(
            root, hostname, disk, damaged, self._listings, self._quotas, reserve, current, alone=not worker
        )
        self._locks = locks or MailboxLocks()
        self._saving: set[Deferred[None]] = set()
        self._threads = threads or Threads(reactor)
        self._scans = DeferredSemaphore(SCANS)

    def open(self) -> None:
        """Make the root if it is missing. The folder above it must exist.

        Raises :class:`~mailserver.errors.StorageError`.
        """
        try:
            self._disk.make_dirs(self._root, below=self._root.parent)
            self.writer.open()
        except OSError as error:
            raise storage_error(error) from error

    def close(self) -> "Deferred[None]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.close`."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._saving:
            await DeferredList(self._saving)
        self.writer.close()

    def check_move(self, old: Address, new: Address) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.check_move`."""
        try:
            check_move(self._root, mailbox_path(old), mailbox_path(new))
        except OSError as error:
            raise storage_error(error) from error

    def move(self, old: Address, new: Address) -> None:
        """See :meth:`~mailserver.interfaces.IMailboxStore.move`."""
        paths = mailbox_path(old), mailbox_path(new)
        try:
            move_maildir(self._root, *paths, self._disk)
        except OSError as error:
            raise storage_error(error) from error
        finally:
            for path in paths:
                self._quotas.forget(path)
                self._listings.outdate(f"{self._root}/{path}")

    def has_before(self, mailbox: Address, when: float) -> "Deferred[bool]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_before`."""
        box = self._root / mailbox_path(mailbox)
        return Deferred.fromCoroutine(_result(self._threads.run_long(has_before, box, when)))

    def has_room(self, mailbox: Address, octets: int) -> "bool | Deferred[bool]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_room`."""
        known = self._quotas.known(mailbox, octets)
        if known is not None:
            return known
        return Deferred.fromCoroutine(_result(self._threads.run(self._quotas.has_room, mailbox, octets)))

    def maildrop(self, mailbox: Address) -> "Deferred[IMaildrop]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.maildrop`."""
        return Deferred.fromCoroutine(self._maildrop(mailbox))

    async def _maildrop(self, mailbox: Address) -> IMaildrop:
        path = mailbox_path(mailbox)
        try:
            if not self._locks.acquire(path):
                raise MaildropInUse(f"another session has the maildrop of {mailbox}")
        except OSError as error:
            raise storage_error(error) from error
        try:
            listing = await self._listing(self._root / path)
        except BaseException:
            self._locks.release(path)
            raise
        return MaildirMaildrop(listing, self._disk, self._reactor, lambda: self._locks.release(path))

    def browse(self, mailbox: Address) -> "Deferred[IMailboxView]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.browse`."""
        return Deferred.fromCoroutine(self._browse(mailbox))

    async def _browse(self, mailbox: Address) -> IMailboxView:
        return MailboxView(await self._listing(self._root / mailbox_path(mailbox)), self._reactor)

    async def _listing(self, box: Path) -> Listing:
        try:
            listing = self._listings.fresh(box)
        except (FolderRefused, OSError):
            listing = None  # the scan will report the error
        if listing is not None:
            return listing
        # One large Maildir at a time, to save memory.
        return await self._scan(box, self._threads.run_long if _is_large(box) else self._run_scan)

    def _run_scan(self, function: Callable[..., _T], *arguments: object) -> Deferred[_T]:
        return self._scans.run(self._threads.run, function, *arguments)

    async def _scan(self, box: Path, run: _Run) -> Listing:
        before = self._listings.last(box)
        measurer, listing = await _result(run(_measure_all, box, before))
        known_refusals = before.refused if before else {}
        for path, reason in listing.refused.items():
            if known_refusals.get(path) != reason:
                report(FileIgnored(path=path, reason=reason))
        listing.unsaved = before.unsaved + measurer.fresh if before else measurer.fresh
        self._listings.remember(box, listing)
        if sizes.are_worth_saving(listing.unsaved, len(listing.messages)):
            self._save_sizes(box, listing, run)
        return listing

    def _save_sizes(self, box: Path, listing: Listing, run: _Run) -> None:
        """Save the new sizes in the background. Only ``close`` waits for it."""
        rows, listing.unsaved = listing.unsaved, sizes.new_rows()

        def failed(failure: Failure) -> None:
            report(SizesNotSaved(path=str(box), error=failure.value))

        saving = Deferred.fromCoroutine(_result(run(sizes.save, box, rows, self._disk)))
        self._saving.add(saving)
        saving.addErrback(failed).addBoth(lambda _: self._saving.discard(saving))


async def _result(work: Deferred[_T]) -> _T:
    """The result of a thread. Raises :class:`~mailserver.errors.StorageError` instead of OSError."""
    try:
        return await work
    except OSError as error:
        raise storage_error(error) from error


def _measure_all(box: Path, before: Listing | None) -> tuple[Measurer, Listing]:
    """Scan a Maildir. Sizes are known from the last listing, or else from the index."""
    measurer = Measurer(sizes.new_rows() if before else sizes.load(box))
    return measurer, scan(box, before, measurer)


def _is_large(box: Path) -> bool:
    """Whether a scan takes long, judged by the sizes of the folders."""
    with suppress(OSError):
        return max((box / name).stat().st_size for name in ("cur", "new")) >= LARGE
    return False
