"""Deliveries to Maildirs: one thread that commits all that wait as one group.

Nobody waits on a timer: the thread takes what is there, so an idle server commits at once and a
busy one in larger groups. The package's text has the steps and what a crash after each leaves.
"""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.durable.disk import Disk
from mailserver.durable.group import GroupWriter, NewFile
from mailserver.errors import StorageError, storage_error
from mailserver.interfaces import IContent
from mailserver.store.content import Copy
from mailserver.store.folders import Folders, Maildir
from mailserver.store.names import UniqueNames, with_sizes

MAX_GROUP = 100  # deliveries; what comes later need not make the first of them wait


@attrs.define(eq=False)
class Target:
    """A copy on its way into one mailbox; ``path`` is where its file is now, if anywhere."""

    maildir: Maildir
    copy: Copy
    path: Path | None = None


@attrs.define(eq=False)
class Job:
    """One call of ``deliver``: for each mailbox its folder and the head of its copy."""

    content: IContent
    heads: Sequence[tuple[Path, bytes]]
    targets: Sequence[Target] = ()
    done: "Deferred[None]" = attrs.field(factory=Deferred)
    error: Exception | None = None


class DeliveryWriter:
    """Writes messages into Maildirs below ``root``.

    ``deliver`` and ``close`` are called in the reactor's thread; the rest runs in the writer's.
    """

    _log = Logger()

    def __init__(self, root: Path, hostname: str, disk: Disk, reactor: IReactorFromThreads) -> None:
        self._disk = disk
        self._reactor = reactor
        self._names = UniqueNames(hostname)
        self._folders = Folders(root, disk)
        self._group = GroupWriter(disk, root)
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended: Deferred[None] = Deferred()

    def deliver(self, content: IContent, heads: Sequence[tuple[Path, bytes]]) -> "Deferred[None]":
        """Put a copy, each with its own head, into each of the Maildirs; all or none."""
        job = Job(content, heads)
        if self._thread is None:
            # Not before there is something to do: by now the process has become a daemon.
            self._thread = threading.Thread(target=self._run, name="maildir-writer", daemon=True)
            self._thread.start()
        self._waiting.put(job)
        return job.done

    async def close(self) -> None:
        """Finish what is waiting, then end the thread. Nothing may be delivered any more."""
        if self._thread is not None:
            self._waiting.put(None)
            await self._ended
            self._thread.join()
        self._group.close()

    def _run(self) -> None:
        open_ = True
        while open_:
            jobs, open_ = self._take()
            try:
                self._commit(jobs)
            except Exception as error:  # noqa: BLE001 - a bug fails the group and not the thread
                for job in jobs:
                    if job.error is None:
                        self._fail(job, error)
            self._reactor.callFromThread(self._answer, jobs)
        self._reactor.callFromThread(self._ended.callback, None)

    def _take(self) -> tuple[list[Job], bool]:
        """All that waits, and whether more can come."""
        jobs: list[Job] = []
        job = self._waiting.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == MAX_GROUP:
                return jobs, True
            try:
                job = self._waiting.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    def _answer(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.error is None:
                job.done.callback(None)
            elif isinstance(job.error, OSError):
                job.done.errback(Failure(storage_error(job.error)))
            else:
                job.done.errback(Failure(job.error))

    def _commit(self, jobs: Sequence[Job]) -> None:
        self._prepare(jobs)
        self._write([job for job in jobs if job.error is None])
        self._make_visible([job for job in jobs if job.error is None])
        self._sync_folders([job for job in jobs if job.error is None])

    def _prepare(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            try:
                job.targets = [
                    Target(self._folders.prepare(box), Copy(head, job.content)) for box, head in job.heads
                ]
            except (OSError, StorageError) as error:
                self._fail(job, error)

    def _write(self, jobs: Sequence[Job]) -> None:
        owners = [(job, target) for job in jobs for target in job.targets]
        files = [NewFile(target.maildir.tmp / self._names.next(), target.copy) for _, target in owners]
        outcomes = self._group.write_files(files)
        for (_, target), file, error in zip(owners, files, outcomes, strict=True):
            if error is None:
                target.path = file.path
        for (job, _), error in zip(owners, outcomes, strict=True):
            if error is not None and job.error is None:
                self._fail(job, error)

    def _make_visible(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            try:
                for target in job.targets:
                    assert target.path is not None
                    name = with_sizes(target.path.name, target.copy.octets, target.copy.sent)
                    visible = target.maildir.new / name
                    self._disk.rename(target.path, visible)
                    target.path = visible
            except OSError as error:
                self._fail(job, error)

    def _sync_folders(self, jobs: Sequence[Job]) -> None:
        folders = {target.maildir.new for job in jobs for target in job.targets}
        failed = self._group.sync_dirs(folders)
        for job in jobs:
            for target in job.targets:
                if job.error is None and target.maildir.new in failed:
                    self._fail(job, failed[target.maildir.new])

    def _fail(self, job: Job, error: Exception) -> None:
        """The job has failed: take back what it has put anywhere."""
        job.error = error
        for target in job.targets:
            path, target.path = target.path, None
            if path is None:
                continue
            try:
                self._disk.remove(path)
            except FileNotFoundError:
                continue
            except OSError as left:
                self._log.error("{path} of a failed delivery stays: {left}", path=path, left=left)
