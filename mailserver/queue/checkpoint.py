"""The checkpoint: texts that are visible and safe only in the spool are made safe where they are.

About once a second one thread syncs them all together; then, and only then, their rows are retired.
What a failed sync may have lost is written anew from the spool, never synced a second time.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailserver.errors import MessageDamaged, StorageError
from mailserver.interfaces import IContent, IMailboxWriter, IReactor, Stored
from mailserver.queue import entries
from mailserver.queue.writer import Change, Job

EVERY = 1.0  # seconds from the first text that is not settled
AFTER_FAILURE = 10.0  # seconds
MANY = 5_000  # texts
MUCH = 64 * 1024 * 1024  # octets
BEHIND = 20  # times as much as would hurry a checkpoint


@attrs.frozen
class Unsettled:
    """The texts of a row; ``hidden`` are those that may not be visible everywhere."""

    texts: Sequence[Stored]
    hidden: Collection[Stored]


class Checkpoint:
    """Knows what is not settled, and settles it.

    ``add`` is for the writer's thread, ``submit`` hands a job to it; the rest is for the reactor's.
    ``content_of`` gives the content of a row, in any thread.
    """

    _log = Logger()

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
        self._lock = threading.Lock()
        self._unsettled: dict[int, Unsettled] = {}
        self._uids: set[str] = set()
        self._coming: frozenset[str] = frozenset()  # unique-ids that the writer is showing just now
        self._count = self._octets = 0
        self._timer: IDelayedCall | None = None
        self._running = False
        self._again: list[Deferred[None]] = []
        self._stopped = False
        # Texts that a failed sync may have lost: never synced again, but written anew.
        self._doubtful: set[Stored] = set()

    def add_doubtful(self, texts: Sequence[tuple[int, Sequence[Stored]]]) -> None:
        """These, left from before the start, may be visible or not, on disk or not."""
        self._doubtful.update(text for _, stored in texts for text in stored)
        self.add(texts, self._doubtful)

    def expect(self, texts: Iterable[Stored]) -> None:
        """These will be visible in a moment; ``add`` follows, in the same thread."""
        self._coming = frozenset(text.uid for text in texts)

    def add(self, texts: Iterable[tuple[int, Sequence[Stored]]], hidden: Iterable[Stored]) -> None:
        """These have become visible, but for some of them in some mailboxes."""
        unseen = set(hidden)
        with self._lock:
            first = not self._unsettled
            for seq, stored in texts:
                self._unsettled[seq] = Unsettled(stored, unseen.intersection(stored) if unseen else unseen)
                for text in stored:
                    self._uids.add(text.uid)
                    self._octets += text.octets
                    self._count += 1
            self._coming = frozenset()
            much = self._count > MANY or self._octets > MUCH
        if first or much:
            self._reactor.callFromThread(self._plan, 0.0 if much else EVERY)

    @property
    def is_behind(self) -> bool:
        """Whether there is so much to settle that more should not be taken now."""
        return self._count > BEHIND * MANY or self._octets > BEHIND * MUCH

    def _plan(self, delay: float) -> None:
        if self._running or self._stopped:
            return
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= self._reactor.seconds() + delay:
                return
            self._timer.cancel()
        self._timer = self._reactor.callLater(delay, self.run)

    def settled(self, uids: Iterable[str]) -> "Deferred[None] | None":
        """None if the texts with these unique-ids are settled, else fires when they are, or fails
        with :class:`~mailserver.errors.StorageError`."""
        asked = frozenset(uids)
        # In this order: the writer adds to the one before it takes from the other.
        if self._coming.isdisjoint(asked) and self._uids.isdisjoint(asked):
            return None
        return Deferred.fromCoroutine(self._settled(asked))

    async def _settled(self, uids: frozenset[str]) -> None:
        try:
            if not self._coming.isdisjoint(uids):
                await self._submit(Job())  # when the writer comes to it, they have been added
            await self.run()
        except StorageError:
            # It may have failed for others alone.
            if not self._uids.isdisjoint(uids):
                raise

    def run(self) -> "Deferred[None]":
        """Settle all that there is. Fails with :class:`~mailserver.errors.StorageError` if that
        cannot be; it is tried again."""
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
                if not await self._settle():
                    error = StorageError("messages are safe in the spool, but not yet in the mailbox")
            except StorageError as caught:
                error = caught
            except Exception:  # noqa: BLE001 - a bug costs one round and not all that follow
                self._log.failure("the checkpoint failed")
                error = StorageError("something went wrong in the checkpoint")
            if error is not None:
                delay = AFTER_FAILURE
                self._log.error("the checkpoint has failed and is tried again: {error}", error=error)
            for each in waiting:
                if error is None:
                    each.callback(None)
                else:
                    each.addErrback(lambda failure: failure.trap(StorageError) and None)
                    each.errback(error)
        self._running = False
        if self._unsettled:
            self._plan(delay)

    def stop(self) -> None:
        """Plan no more rounds."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def _settle(self) -> bool:
        """One round; whether nothing of what was there is left."""
        with self._lock:
            rows, self._unsettled = self._unsettled, {}
        if not rows:
            return True
        pool = self._reactor.getThreadPool()
        retired: list[int] = []
        try:
            safe = await deferToThreadPool(self._reactor, pool, self._make_safe, rows)
            if safe:
                await self._submit(Change(changes=list(entries.retire(safe))))
                retired = safe
        finally:
            done = [rows.pop(seq) for seq in retired]
            self._forget(done)
            with self._lock:
                self._unsettled = {**rows, **self._unsettled}
        await deferToThreadPool(self._reactor, pool, self._let_go, done)
        return not rows

    def _make_safe(self, rows: dict[int, Unsettled]) -> list[int]:
        """Runs in a thread; the rows that are settled now."""
        mailboxes = self._mailboxes()
        hidden = [(seq, text) for seq, row in rows.items() for text in row.hidden]
        failed = self._restore(hidden, missing=True)
        fresh = [text for row in rows.values() for text in row.texts if text not in self._doubtful]
        self._doubtful.update(mailboxes.settle(fresh))
        if self._doubtful:
            doubtful = [
                (seq, text) for seq, row in rows.items() for text in row.texts if text in self._doubtful
            ]
            failed |= self._restore(doubtful, present=True)
            anew = [text for _, text in doubtful if text not in failed]
            failed.update(mailboxes.settle(anew))
            self._doubtful.difference_update(text for text in anew if text not in failed)
        return [seq for seq, row in rows.items() if failed.isdisjoint(row.texts)]

    def _restore(
        self, texts: Sequence[tuple[int, Stored]], *, missing: bool = False, present: bool = False
    ) -> set[Stored]:
        """Write texts where they are missing, or anew where they are present; those that it failed for."""
        failed = set()
        for seq, text in texts:
            try:
                content = self._content_of(seq)
                self._mailboxes().restore(text, content, missing=missing, present=present)
            except (StorageError, MessageDamaged, OSError) as error:
                self._log.error("{name} is safe in the spool alone: {error}", name=text.name, error=error)
                failed.add(text)
        return failed

    def _let_go(self, rows: Sequence[Unsettled]) -> None:
        self._mailboxes().forget([text for row in rows for text in row.texts])

    def _forget(self, rows: Iterable[Unsettled]) -> None:
        with self._lock:
            for row in rows:
                for text in row.texts:
                    self._uids.discard(text.uid)
                    self._octets -= text.octets
                    self._count -= 1
