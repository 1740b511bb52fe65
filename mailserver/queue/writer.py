"""The writer of the spool: one thread that commits all pending jobs as a group.

There is no timer: the thread takes the jobs that are there, so an idle server commits at once and a busy one
in larger groups. Small messages go before large ones. The docstring of the package describes the steps and
the effects of a crash after each of them.
"""

import threading
import time
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
from mailserver.threads.durations import Durations

# Limits of a group, so that its first job does not wait for too many others.
MAX_GROUP = 100  # jobs
MUCH = 16 * 1024 * 1024  # octets, of small jobs and of large ones; the last job may exceed it
LARGE = 1024 * 1024  # octets; larger jobs wait until there is no small one

NOTHING_STAGED = Staged(())


@attrs.define(eq=False)
class Job:
    """A unit of work for one commit: deliveries, if there is a ``content``, and rows.

    ``seq`` is the number of its row. ``done`` fires when the job is durable and its deliveries are visible.
    """

    seq: int = 0
    content: IContent | None = None
    deliveries: Sequence[Delivery] = ()
    staged: Staged = NOTHING_STAGED
    done: "Deferred[None]" = attrs.field(factory=Deferred)
    error: Exception | None = None

    @property
    def octets(self) -> int:
        """The octets of content to be written to files. Mailboxes with the same head share a file."""
        if self.content is None:
            return 0
        return self.content.size * len({delivery.head for delivery in self.deliveries})

    @property
    def is_large(self) -> bool:
        return self.octets > LARGE

    def record(self, transaction: ISpoolTransaction, check_room: Callable[[], None]) -> None:
        """Add the changes of the staged job to the transaction. A new row has the number ``seq``.

        ``check_room`` raises ``OSError`` if the disk is full. An exception fails only this job, so nothing
        may raise after the first change.
        """


class Barrier(Job):
    """Done when all jobs submitted before it are done."""

    @property
    def is_large(self) -> bool:
        """True: the large jobs are the last ones, and this one queues behind them."""
        return True


@attrs.define(eq=False)
class Change(Job):
    """Changes of the spool without deliveries."""

    change: Callable[[ISpoolTransaction], None] = attrs.field(kw_only=True)

    def record(self, transaction: ISpoolTransaction, check_room: Callable[[], None]) -> None:
        """See :class:`Job`."""
        self.change(transaction)


class SpoolWriter:
    """Commits jobs. The reactor's thread calls ``submit`` and ``close``.

    The writer's thread calls ``expected`` with the copies that are about to be published, then ``committed``
    with the copies of each row, and those of them that some mailbox does not show.

    ``groups`` has the times that groups of jobs have taken, ``delivered`` is the number of copies that were
    published, one for each mailbox.
    """

    def __init__(
        self,
        engine: ISpoolEngine,
        mailboxes: Callable[[], IMailboxWriter],
        reactor: IReactor,
        expected: Callable[[Iterable[StoredCopy]], None],
        committed: Callable[[Sequence[tuple[int, Sequence[StoredCopy]]], Iterable[StoredCopy]], None],
        check_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._mailboxes = mailboxes
        self._reactor = reactor
        self._expected = expected
        self._committed = committed
        self._check_room = check_room
        self.groups = Durations()
        self.delivered = 0
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._large: deque[Job] = deque()
        self._open = True
        self._unanswered = 0
        self._processed: deque[Sequence[Job]] = deque()
        self._called = False
        self._thread: threading.Thread | None = None
        self._ended: Deferred[None] = Deferred()
        # Rows of failed commits, which may be on the disk nevertheless.
        self._doubtful: list[int] = []

    @property
    def idle(self) -> bool:
        """True while no job is in progress."""
        return not self._unanswered

    def submit(self, job: Job) -> "Deferred[None]":
        """Queue a job. Returns its ``done``."""
        self._unanswered += 1
        if self._thread is None:
            # Started with the first job: threads would not survive when the process becomes a daemon.
            self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
            self._thread.start()
        self._waiting.put(job)
        return job.done

    async def close(self) -> None:
        """Finish all jobs, then end the thread. No job may be submitted any more."""
        if self._thread is not None:
            self._waiting.put(None)
            await self._ended
            self._thread.join()

    def _run(self) -> None:
        while self._open or self._large:
            jobs = self._take()
            self._process(jobs)
            self._processed.append(jobs)
            # A busy reactor answers several groups at a time, and is woken up once.
            if not self._called:
                self._called = True
                self._reactor.callFromThread(self._answer_groups)
        self._reactor.callFromThread(self._ended.callback, None)

    def _process(self, jobs: Sequence[Job]) -> None:
        began = time.perf_counter()
        try:
            self._commit(jobs)
        except Exception as error:  # noqa: BLE001 - a bug fails the group and not the thread
            report(WriterBroken(), Failure())
            for job in jobs:
                job.error = job.error or error
        self.groups.record(time.perf_counter() - began)

    def _take(self) -> list[Job]:
        """The next group: the pending small jobs, then some of the large ones. Waits for the first job."""
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

    def _answer_groups(self) -> None:
        self._called = False  # before the groups are taken: the thread adds a group before it looks
        while self._processed:
            self._answer(self._processed.popleft())

    def _answer(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._unanswered -= 1
            if job.error is None:
                job.done.callback(None)
            else:
                job.done.errback(Failure(job.error))

    # ------------------------------------------------------------ one group

    def _commit(self, jobs: Sequence[Job]) -> None:
        self._stage([job for job in jobs if job.deliveries])
        transaction = self._engine.begin()
        if self._doubtful:
            transaction.remove(self._doubtful)
        self._record(jobs, transaction)
        good = [job for job in jobs if job.error is None]
        try:
            transaction.commit()
            self._doubtful = []
        except Exception as error:  # noqa: BLE001 - after any error, nothing of the group may stay
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
        checked = False

        def check_room() -> None:  # once is enough for a group
            nonlocal checked
            if not checked:
                self._check_room()
                checked = True

        for job in jobs:
            if job.error is None:
                try:
                    job.record(transaction, check_room)
                except Exception as error:  # noqa: BLE001 - any error of the content fails only this job
                    self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        job.error = storage_error(error) if isinstance(error, OSError) else error
        self._mailboxes().discard(job.staged.copies)

    def _publish(self, jobs: Sequence[Job]) -> None:
        self.delivered += sum(len(copy.mailboxes) for job in jobs for copy in job.staged.copies)
        jobs = [job for job in jobs if not job.staged.in_transaction]
        copies = [copy for job in jobs for copy in job.staged.copies]
        if not copies:
            return
        # Before they are visible: a removal must know that they are not synced.
        self._expected(copies)
        hidden = self._mailboxes().publish(copies)
        for copy, failures in hidden.items():
            for mailbox, error in failures.items():
                report(CopyHidden(name=copy.name, mailbox=mailbox, error=error))
        self._committed([(job.seq, job.staged.copies) for job in jobs if job.staged.copies], hidden)


class InlineSpoolWriter(SpoolWriter):
    """Commits each job at once, in the reactor's thread: for engines in memory, which do not block."""

    def submit(self, job: Job) -> "Deferred[None]":
        """Do a job. Returns its ``done``, which has fired."""
        self._unanswered += 1
        self._process([job])
        self._answer([job])
        return job.done
