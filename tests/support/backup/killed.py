"""Backups and restorations of a small data directory, which are killed at a system call."""

import errno
import os
import signal
import sqlite3
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mailserver.app.backup import copy_spools
from mailserver.backup.copying import BackupCopy, BackupSource
from mailserver.backup.folder import FolderTarget
from mailserver.backup.generations import Generations
from mailserver.backup.manifest import Manifest
from mailserver.backup.restore import Restoration
from mailserver.backup.target import BackupTarget
from mailserver.backup.verify import BackupCheck
from mailserver.durable.database import Database, is_database
from mailserver.durable.disk import Disk
from tests.support.backup.life import BOXES, FULL, NO_ROOM, QuickCalls, origin
from tests.support.queue.spools import SpoolReactor, Spools, WorkerSpools

MESSAGE = b"Subject: %d\r\n\r\n%s\r\n"


def make_data(data: Path, reactor: SpoolReactor) -> None:
    """Messages in mailboxes, one that waits, and two that were never synced, and one of another worker; an
    account store."""
    spools = Spools(data, reactor, QuickCalls())
    spools.quotas[FULL] = NO_ROOM
    spools.open()
    for number in range(4):
        spools.wait(spools.deliver(MESSAGE % (number, b"x" * number), *BOXES[: 1 + number % 2]))
    spools.wait(spools.deliver(MESSAGE % (5, b"y" * 100_000), BOXES[0], FULL))
    spools.checkpoint()
    for number, size in ((6, 10), (7, 100_000)):
        spools.wait(spools.deliver(MESSAGE % (number, b"z" * size), BOXES[1]))
    worker = WorkerSpools(data, reactor, QuickCalls())
    worker.open()
    worker.wait(worker.deliver(MESSAGE % (8, b"w" * 100_000), BOXES[2]))
    worker.leave()
    spools.leave()
    (data / "srs.keys").write_text("keys\n")
    accounts = Database(data / "accounts.db", QuickCalls())
    accounts.open(("CREATE TABLE person (name TEXT)",))
    accounts.close()


class FarCalls(QuickCalls):
    """The backup is on another file system than the data."""

    def link(self, source: os.PathLike[str] | str, target: os.PathLike[str] | str) -> None:
        if "/data/mail/" in str(source) and "/backups/" not in str(source):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().link(source, target)


def back_up(data: Path, folder: Path, disk: Disk, now: float = 0.0, keep: int | None = None) -> BackupTarget:
    """Make a backup, as the command does it while no server runs."""
    generations = Generations(folder, disk)
    source = BackupSource(data, [], lambda: copy_spools(data, disk), {})
    with generations.lock():
        known = generations.known()
        partial = generations.begin(now)
        with FolderTarget(partial, origin(data), disk, known) as target:
            copy = BackupCopy(source, target, disk)
            for _ in copy.run():
                pass
        assert not copy.problems, copy.problems
        generations.finish(partial)
        generations.clean(keep)
    return target


def restore(folder: Path, target: Path, disk: Disk, *, replace: bool = False) -> None:
    """Restore the newest backup."""
    manifest = Manifest(Generations(folder, disk).find(None))
    for _ in Restoration(manifest, target, disk, format=1, replace=replace).run():
        pass


def problems(folder: Path) -> list[str]:
    """What is wrong with a backup."""
    check = BackupCheck(Manifest(folder))
    for _ in check.run():
        pass
    return check.problems


def tree(folder: Path) -> dict[str, bytes | None]:
    """All files below a folder with their octets, and the folders, without what a process leaves behind."""
    return {
        str(path.relative_to(folder)): _octets(path) if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.relative_to(folder).parts[0] not in ("backup", "tmp")
        and path.name != "lock"
        and not path.match("spool/worker-*/made-*")  # a start creates it
        and not path.name.endswith(("-wal", "-shm"))
    }


def _octets(path: Path) -> bytes:
    """The octets of a file; the statements that make a database, whose octets may differ."""
    if not is_database(path):
        return path.read_bytes()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        return "\n".join(database.iterdump()).encode()


def killed_at(number: int, calls: QuickCalls, action: Callable[[Disk], object]) -> bool:
    """Run an action in a process that is killed at its ``number``-th call. False if it ends before."""
    child = os.fork()
    if not child:
        calls.fails = lambda count, name: count == number and bool(os.kill(os.getpid(), signal.SIGKILL))
        try:
            action(Disk(calls))
        except BaseException:  # noqa: BLE001 - the child must not go on as a test
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
