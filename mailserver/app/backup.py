"""Backups of this server: what they copy, and the part of the spools, which a running server does itself."""

import errno
import grp
import os
import pwd
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as DeferredTimeout

from mailserver import __version__
from mailserver.accounts.sqlite.engine import ReadOnlyAccounts
from mailserver.app.data import (
    queue_file,
    require_format,
    worker_queue_file,
    worker_queue_files,
    worker_spool,
)
from mailserver.app.tasks import Tasks
from mailserver.backup.copying import Examine
from mailserver.backup.manifest import BackupOrigin, BackupTotals
from mailserver.cluster.interfaces import IPeers
from mailserver.config.keys.tls import CertificateSection, TlsSection
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.durable.copies import FileAttributes, make_folders, remove_tree, set_attributes
from mailserver.durable.disk import Disk
from mailserver.errors import storage_error
from mailserver.interfaces import IReactor
from mailserver.queue.spool import Spool
from mailserver.queue.sqlite.contents import CONTENTS, Contents
from mailserver.queue.sqlite.listing import outdated, view
from mailserver.queue.sqlite.snapshot import SpoolSnapshot
from mailserver.threads.pool import run_in_thread

BACKUP_SPOOL = "backup spool"
STALE = 86400.0  # seconds; a copy of the spool is used within minutes
PATIENCE = 60.0  # seconds that another worker has to copy its spool


def origin(config: Config, path: Path, now: float) -> BackupOrigin:
    """The first line of the manifest. ``path`` is the file of the configuration. Raises ``OSError``."""
    status = config.data.stat()
    return BackupOrigin(
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        version=__version__,
        format=require_format(config.data),
        data=str(config.data.absolute()),
        configuration=str(path.absolute()),
        user=_name(lambda: pwd.getpwuid(status.st_uid).pw_name),
        group=_name(lambda: grp.getgrgid(status.st_gid).gr_name),
        uid=status.st_uid,
        gid=status.st_gid,
    )


def _name(look_up: Callable[[], str]) -> str:
    try:
        return look_up()
    except KeyError:
        return ""


def other_files(config: Config, path: Path) -> list[Path]:
    """The file of the configuration, and those it names outside of the data directory, except for the
    private keys of certificates."""
    named = [path.absolute(), *map(Path.absolute, _named(config))]
    data = config.data.absolute()
    return [each for each in dict.fromkeys(named) if not each.is_relative_to(data) and each.is_file()]


def _named(section: object) -> Iterator[Path]:
    """The paths in a section and in those below it."""
    if isinstance(section, Path):
        yield section
    elif isinstance(section, Mapping):
        for value in section.values():
            yield from _named(value)
    elif isinstance(section, tuple):
        for value in section:
            yield from _named(value)
    elif attrs.has(cls := type(section)):
        is_certificate = isinstance(section, (TlsSection, CertificateSection))
        for name in attrs.fields_dict(cls):
            if not (is_certificate and name == "private_key"):
                yield from _named(getattr(section, name))


def _examine_spool(path: Path, totals: BackupTotals) -> None:
    if outdated(path):
        return  # the next start converts it
    spool = view(path)
    totals.queued += spool.waiting()
    totals.unsynced += spool.unsynced()


def _examine_accounts(path: Path, totals: BackupTotals) -> None:
    totals.accounts = len(ReadOnlyAccounts(path).addresses())


EXAMINE: Mapping[str, Examine] = {
    "spool/queue.db": _examine_spool,
    "spool/worker-*/queue.db": _examine_spool,
    "accounts.db": _examine_accounts,
}
"""The functions that count the content of a database, by patterns of its path below the data directory."""


# ------------------------------------------------------------ the spool


def make_stage(data: Path, disk: Disk) -> Path:
    """Create the folder for a copy of the spool. Removes those that killed commands have left."""
    folder = data / "backup"
    if folder.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))
    make_folders(disk, folder)
    for left in folder.iterdir():
        if left.stat().st_mtime < time.time() - STALE:
            remove_tree(disk, left)
    stage = folder / secrets.token_hex(8)
    make_folders(disk, stage)
    for path in (folder, stage):
        owner = FileAttributes.of(data.stat())
        set_attributes(path, attrs.evolve(FileAttributes.of(path.stat()), uid=owner.uid, gid=owner.gid))
    return stage


def copy_spools(data: Path, disk: Disk) -> Path | None:
    """Copy the spools while no server runs, under the lock of the data directory. Returns the folder, None if
    there is no spool. Raises ``OSError``."""
    first, others = queue_file(data), worker_queue_files(data)
    if not first.exists() and not others:
        return None
    stage = make_stage(data, disk)
    try:
        if first.exists():
            _copy_unused(first, data, disk, stage)
        for number in others:
            _copy_worker(number, data, disk, stage)
    except BaseException:
        remove_tree(disk, stage)
        raise
    return stage


def _copy_worker(number: int, data: Path, disk: Disk, stage: Path) -> None:
    """Copy the spool of a worker that does not run."""
    path = worker_queue_file(data, number)
    if path.exists():
        _copy_unused(path, data, disk, stage / path.parent.name)


def _copy_unused(path: Path, data: Path, disk: Disk, folder: Path) -> None:
    """Copy a spool that no process uses."""
    snapshot = SpoolSnapshot(path, Contents(path.parent / CONTENTS, disk), disk, data / "mail", folder)
    try:
        snapshot.take()
        snapshot.write()
    finally:
        snapshot.close()


class SpoolCopies:
    """The command that copies the spools of a running server. Its outcome is the path of the copy.

    The first worker runs it. Each other worker copies its own spool when it is asked."""

    def __init__(
        self, spool: Spool, data: Path, disk: Disk, tasks: Tasks, reactor: IReactor, peers: IPeers
    ) -> None:
        self._spool = spool
        self._data = data
        self._disk = disk
        self._tasks = tasks
        self._reactor = reactor
        self._peers = peers
        self._one = DeferredLock()
        peers.serve(BACKUP_SPOOL, self._copy_own)

    def run(self, request: Request) -> Deferred[CommandOutcome]:
        """Run the command. Cancelling the result aborts it."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> CommandOutcome:
        aborted = threading.Event()
        try:
            return await self._tasks.start(self._copy(aborted))
        finally:
            aborted.set()

    async def _copy(self, aborted: threading.Event) -> CommandOutcome:
        await self._one.acquire()
        try:
            stage = await run_in_thread(self._reactor, make_stage, self._data, self._disk)
            try:
                await self._spool.copy_to(stage, self._data / "mail", lambda: not aborted.is_set())
                await self._peers.ask_others(BACKUP_SPOOL, stage).addTimeout(PATIENCE, self._reactor)
                await run_in_thread(self._reactor, self._copy_others, stage)
            except BaseException:
                await run_in_thread(self._reactor, remove_tree, self._disk, stage)
                raise
            return CommandOutcome((str(stage),))
        except InterruptedError:
            raise CommandFailed("aborted before the end") from None
        except DeferredTimeout:
            raise CommandFailed(
                f"a worker has not copied its spool within {PATIENCE:g} seconds; see mailserver doctor"
            ) from None
        except OSError as error:
            raise storage_error(error) from error
        finally:
            self._one.release()

    def _copy_others(self, stage: Path) -> None:
        """Copy the spools that belong to no worker of this server."""
        for number in worker_queue_files(self._data):
            if number not in self._peers.others:
                _copy_worker(number, self._data, self._disk, stage)

    def _copy_own(self, stage: Path) -> Deferred[None]:
        return Deferred.fromCoroutine(self._copy_this(stage))

    async def _copy_this(self, stage: Path) -> None:
        """Copy the spool of this worker, which has entries only."""
        folder = stage / worker_spool(self._data, self._peers.number).name
        try:
            await self._spool.copy_to(folder, self._data / "mail", lambda: True)
        except OSError as error:
            raise storage_error(error) from error
