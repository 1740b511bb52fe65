"""The checkpoint: syncs published copies in their mailboxes, so that the spool can delete them.

About once a second one thread syncs all of them together. Only then their rows are retired. If a sync
fails, the copies are written again from the spool; the same files are never synced a second time.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mailserver.errors import MessageDamaged, StorageError
from mailserver.events.base import report
from mailserver.events.queue import CheckpointBroken, CheckpointFailed, CopyUnsynced
from mailserver.interfaces import IContent, IMailboxWriter, IReactor, StoredCopy
from mailserver.queue.writer import Change, Job
from mailserver.threads.durations import Durations
from mailserver.threads.pool import run_in_thread

EVERY = 1.0  # seconds after the first unsynced copy
AFTER_FAILURE = 10.0  # seconds
MANY = 5_000  # copies that start a checkpoint at once
MUCH = 64 * 1024 * 1024  # octets that start a checkpoint at once
BEHIND = 20  # times MANY or MUCH: no more messages are accepted


@attrs.frozen
class Unsynced:
    """The copies of a row. ``hidden`` has those that may not be visible in all mailboxes."""

    copies: Sequence[StoredCopy]
    hidden: Collection[StoredCopy]


class Checkpoint:
    """Records unsynced copies and syncs them.

    The writer's thread calls ``expect`` and ``add``, the reactor's thread all other methods. ``submit``
    gives a job to the writer. ``content_of`` returns the content of a row, in any thread. ``syncs`` has the
    times that syncs have taken.
    """

    def __init__(
        self,
        mailboxes: Callable[[], IMailboxWriter],
        submit: "Callable[[Job], Deferred[None]]",
        content_of: Callable[[int], IContent | None],
        reactor: IReactor,
    ) -> None:
        self._mailboxes = mailboxes
        self._submit = submit
        self._content_of = content_of
        self._reactor = reactor
        self.syncs = Durations()
        self._lock = threading.Lock()
        self._unsynced: dict[int, Unsynced] = {}
        self._uids: set[str] = set()
        self._coming: frozenset[str] = frozenset()  # unique-ids that the writer is publishing now
        self._count = self._octets = 0
        self._timer: IDelayedCall | None = None
        self._running = False
        self._again: list[Deferred[None]] = []
        self._stopped = False
        # Copies that a failed sync may have lost: they are written again before the next sync.
        self._doubtful: set[StoredCopy] = set()

    def add_doubtful(self, copies: Sequence[tuple[int, Sequence[StoredCopy]]]) -> None:
        """Add copies from before the start, which may not be visible and may not be on the disk."""
        self._doubtful.update(copy for _, stored in copies for copy in stored)
        self.add(copies, self._doubtful)

    def expect(self, copies: Iterable[StoredCopy]) -> None:
        """Announce copies that are about to be published. Call ``add`` next, in the same thread."""
        self._coming = frozenset(copy.uid for copy in copies)

    def add(self, copies: Iterable[tuple[int, Sequence[StoredCopy]]], hidden: Iterable[StoredCopy]) -> None:
        """Add published copies. The ``hidden`` ones may not be visible in all of their mailboxes."""
        unseen = set(hidden)
        with self._lock:
            first = not self._unsynced
            for seq, stored in copies:
                self._unsynced[seq] = Unsynced(stored, unseen.intersection(stored) if unseen else unseen)
                for copy in stored:
                    self._uids.add(copy.uid)
                    self._octets += copy.octets
                    self._count += 1
            self._coming = frozenset()
            much = self._count > MANY or self._octets > MUCH
        if first or much:
            self._reactor.callFromThread(self._plan, 0.0 if much else EVERY)

    @property
    def count(self) -> int:
        """The number of copies that are not synced yet."""
        return self._count

    @property
    def is_behind(self) -> bool:
        """Whether there are too many unsynced copies to accept more messages."""
        return self._count > BEHIND * MANY or self._octets > BEHIND * MUCH

    def _plan(self, delay: float) -> None:
        if self._running or self._stopped:
            return
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= self._reactor.seconds() + delay:
                return
            self._timer.cancel()
        self._timer = self._reactor.callLater(delay, self.run)

    def synced(self, uids: Iterable[str]) -> "Deferred[None] | None":
        """None if the copies with these unique-ids are synced. Otherwise fires when they are, or fails
        with :class:`~mailserver.errors.StorageError`."""
        asked = frozenset(uids)
        # Check in this order: the writer adds to ``_uids`` before it clears ``_coming``.
        if self._coming.isdisjoint(asked) and self._uids.isdisjoint(asked):
            return None
        return Deferred.fromCoroutine(self._synced(asked))

    async def _synced(self, uids: frozenset[str]) -> None:
        try:
            if not self._coming.isdisjoint(uids):
                await self._submit(Job())  # when the writer has done this job, it has added them
            await self.run()
        except StorageError:
            # Only other copies may have failed.
            if not self._uids.isdisjoint(uids):
                raise

    def run(self) -> "Deferred[None]":
        """Sync all copies. Fails with :class:`~mailserver.errors.StorageError`; the checkpoint then
        repeats the sync later."""
        done: Deferred[None] = Deferred()
        self._again.append(done)
        if not self._running:
            self._running = True
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
            Deferred.fromCoroutine(self._run())
        return done

    async def _run(self) -> None:
        delay = EVERY
        while self._again:
            waiting, self._again = self._again, []
            error: StorageError | None = None
            delay = EVERY
            try:
                if not await self._sync():
                    error = StorageError("messages are safe in the spool, but not yet in their mailboxes")
            except StorageError as caught:
                error = caught
            except Exception:  # noqa: BLE001 - a bug costs this round only
                report(CheckpointBroken(), Failure())
                error = StorageError("unexpected failure in the checkpoint")
            if error is not None:
                delay = AFTER_FAILURE
                report(CheckpointFailed(error=error))
            for each in waiting:
                if error is None:
                    each.callback(None)
                else:
                    each.addErrback(lambda failure: failure.trap(StorageError) and None)
                    each.errback(error)
        self._running = False
        if self._unsynced:
            self._plan(delay)

    def stop(self) -> None:
        """Plan no more rounds."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def _sync(self) -> bool:
        """Run one round. True if all copies are synced."""
        with self._lock:
            rows, self._unsynced = self._unsynced, {}
        if not rows:
            return True
        retired: list[int] = []
        try:
            safe = await run_in_thread(self._reactor, self._make_safe, rows)
            if safe:
                await self._submit(Change(change=lambda transaction: transaction.retire(safe)))
                retired = safe
        finally:
            done = [rows.pop(seq) for seq in retired]
            self._forget(done)
            with self._lock:
                self._unsynced = {**rows, **self._unsynced}
        await run_in_thread(self._reactor, self._remove_sources, done)
        return not rows

    def _make_safe(self, rows: dict[int, Unsynced]) -> list[int]:
        """Sync the copies, in a thread. Returns the rows whose copies are all synced."""
        began = time.perf_counter()
        mailboxes = self._mailboxes()
        hidden = [(seq, copy) for seq, row in rows.items() for copy in row.hidden]
        failed = self._restore(hidden, missing=True)
        fresh = [copy for row in rows.values() for copy in row.copies if copy not in self._doubtful]
        self._doubtful.update(mailboxes.sync(fresh))
        if self._doubtful:
            doubtful = [
                (seq, copy) for seq, row in rows.items() for copy in row.copies if copy in self._doubtful
            ]
            failed |= self._restore(doubtful, present=True)
            anew = [copy for _, copy in doubtful if copy not in failed]
            failed.update(mailboxes.sync(anew))
            self._doubtful.difference_update(copy for copy in anew if copy not in failed)
        self.syncs.record(time.perf_counter() - began)
        return [seq for seq, row in rows.items() if failed.isdisjoint(row.copies)]

    def _restore(
        self, copies: Sequence[tuple[int, StoredCopy]], *, missing: bool = False, present: bool = False
    ) -> set[StoredCopy]:
        """Write copies where they are missing, or again where they are present. Returns the failed ones."""
        failed = set()
        for seq, copy in copies:
            try:
                content = self._content_of(seq)
                self._mailboxes().restore(copy, content, missing=missing, present=present)
            except (StorageError, MessageDamaged, OSError) as error:
                report(CopyUnsynced(name=copy.name, error=error))
                failed.add(copy)
        return failed

    def _remove_sources(self, rows: Sequence[Unsynced]) -> None:
        self._mailboxes().forget([copy for row in rows for copy in row.copies])

    def _forget(self, rows: Iterable[Unsynced]) -> None:
        with self._lock:
            for row in rows:
                for copy in row.copies:
                    self._uids.discard(copy.uid)
                    self._octets -= copy.octets
                    self._count -= 1
