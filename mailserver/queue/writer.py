"""The spool's writer: one thread that commits all that wait as one group.

Nobody waits on a timer: the thread takes what is there, so an idle server commits at once and a
busy one in larger groups. Small messages go before large ones. The package's text has the steps and
what a crash after each leaves.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.errors import storage_error
from mailserver.events.base import report
from mailserver.events.queue import CopyHidden, WriterBroken
from mailserver.interfaces import Delivery, IContent, IMailboxWriter, IReactor, Staged, StoredCopy
from mailserver.queue.interfaces import ISpoolEngine, ISpoolTransaction

# What comes later need not make the first of a group wait.
MAX_GROUP = 100  # jobs
MUCH = 16 * 1024 * 1024  # octets, of small jobs and of large ones; one job more may go beyond
LARGE = 1024 * 1024  # octets; a job of more waits until no small one does


@attrs.define(eq=False)
class Job:
    """Something to be committed: deliveries, if ``content`` is there, and rows.

    ``seq`` is the row it is about. When it fires, it is durable and, as far as it is for mailboxes,
    visible there.
    """

    seq: int = 0
    content: IContent | None = None
    deliveries: Sequence[Delivery] = ()
    staged: Staged = attrs.field(factory=lambda: Staged(()))
    done: "Deferred[None]" = attrs.field(factory=Deferred)
    error: Exception | None = None

    @property
    def octets(self) -> int:
        """How many octets of content will be written to files; mailboxes with the same head share one."""
        if self.content is None:
            return 0
        return self.content.size * len({delivery.head for delivery in self.deliveries})

    @property
    def is_large(self) -> bool:
        return self.octets > LARGE

    def record(self, transaction: ISpoolTransaction) -> None:
        """Add its changes to the transaction, once it is staged. A new row has the number ``seq``.

        Whatever it raises fails this job alone, so nothing after its first change may raise.
        """


class Barrier(Job):
    """Done when all jobs that were submitted before it are."""

    @property
    def is_large(self) -> bool:
        """It takes its turn behind the large ones, which are the last."""
        return True


@attrs.define(eq=False)
class Change(Job):
    """Changes of the spool alone."""

    change: Callable[[ISpoolTransaction], None] = attrs.field(kw_only=True)

    def record(self, transaction: ISpoolTransaction) -> None:
        """See :class:`Job`."""
        self.change(transaction)


class SpoolWriter:
    """Commits jobs. ``submit`` and ``close`` are for the reactor's thread, the rest is the writer's own.

    In its thread it tells ``expected`` what is about to be visible, then ``committed`` what has
    become so: the copies of each row, and those of them that some mailbox does not show.
    """

    def __init__(
        self,
        engine: ISpoolEngine,
        mailboxes: Callable[[], IMailboxWriter],
        reactor: IReactor,
        expected: Callable[[Iterable[StoredCopy]], None],
        committed: Callable[[Sequence[tuple[int, Sequence[StoredCopy]]], Iterable[StoredCopy]], None],
    ) -> None:
        self._engine = engine
        self._mailboxes = mailboxes
        self._reactor = reactor
        self._expected = expected
        self._committed = committed
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._large: deque[Job] = deque()
        self._open = True
        self._thread: threading.Thread | None = None
        self._ended: Deferred[None] = Deferred()
        # Rows of commits that failed: whether they are on the disk is not known.
        self._doubtful: list[int] = []

    def submit(self, job: Job) -> "Deferred[None]":
        """Have a job done."""
        if self._thread is None:
            # Not before there is something to do: by now the process has become a daemon.
            self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
            self._thread.start()
        self._waiting.put(job)
        return job.done

    async def close(self) -> None:
        """Finish what waits, then end the thread. Nothing may be submitted any more."""
        if self._thread is not None:
            self._waiting.put(None)
            await self._ended
            self._thread.join()

    def _run(self) -> None:
        while self._open or self._large:
            jobs = self._take()
            try:
                self._commit(jobs)
            except Exception as error:  # noqa: BLE001 - a bug fails the group and not the thread
                report(WriterBroken(), Failure())
                for job in jobs:
                    job.error = job.error or error
            self._reactor.callFromThread(self._answer, jobs)
        self._reactor.callFromThread(self._ended.callback, None)

    def _take(self) -> list[Job]:
        """The next group: small jobs that wait, then some of the large ones; waits until there is one."""
        jobs: list[Job] = []
        octets = 0
        while self._open and len(jobs) < MAX_GROUP and octets <= MUCH:
            try:
                job = self._waiting.get(block=not (jobs or self._large))
            except Empty:
                break
            if job is None:
                self._open = False
            elif job.is_large:
                self._large.append(job)
            else:
                jobs.append(job)
                octets += job.octets
        octets = 0
        while self._large and octets <= MUCH:
            jobs.append(self._large.popleft())
            octets += jobs[-1].octets
        return jobs

    def _answer(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.error is None:
                job.done.callback(None)
            else:
                job.done.errback(Failure(job.error))

    # ------------------------------------------------------------ one group

    def _commit(self, jobs: Sequence[Job]) -> None:
        self._stage([job for job in jobs if job.content is not None])
        transaction = self._engine.begin()
        if self._doubtful:
            transaction.remove(self._doubtful)
        self._record(jobs, transaction)
        good = [job for job in jobs if job.error is None]
        try:
            transaction.commit()
            self._doubtful = []
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing of the group may stay
            self._doubtful += [job.seq for job in good if job.seq]
            for job in good:
                self._fail(job, error)
            return
        self._publish(good)

    def _stage(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        batch = [(job.content, job.deliveries) for job in jobs if job.content is not None]
        for job, outcome in zip(jobs, self._mailboxes().stage(batch), strict=True):
            if isinstance(outcome, Staged):
                job.staged = outcome
            else:
                job.error = outcome

    def _record(self, jobs: Iterable[Job], transaction: ISpoolTransaction) -> None:
        for job in jobs:
            if job.error is None:
                try:
                    job.record(transaction)
                except Exception as error:  # noqa: BLE001 - whatever the content raises fails this job alone
                    self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        job.error = storage_error(error) if isinstance(error, OSError) else error
        self._mailboxes().discard(job.staged.copies)

    def _publish(self, jobs: Sequence[Job]) -> None:
        copies = [copy for job in jobs for copy in job.staged.copies]
        if not copies:
            return
        # Before anybody can see them: a removal must know that they are not synced.
        self._expected(copies)
        hidden = self._mailboxes().publish(copies)
        for copy, failures in hidden.items():
            for mailbox, error in failures.items():
                report(CopyHidden(name=copy.name, mailbox=mailbox, error=error))
        self._committed([(job.seq, job.staged.copies) for job in jobs if job.staged.copies], hidden)
