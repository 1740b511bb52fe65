"""The server's part of a backup: a copy of the spool, which a client that disconnects aborts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from twisted.internet.defer import CancelledError, Deferred

from mailserver.app.backup import BACKUP_SPOOL, PATIENCE, STALE, SpoolCopies, make_stage
from mailserver.app.tasks import Tasks
from mailserver.cluster.alone import Alone
from mailserver.control.channel import CommandFailed
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError, StorageRefused
from mailserver.queue.memory import MemorySpool
from mailserver.queue.selection import Selection
from mailserver.queue.sqlite.listing import view
from mailserver.queue.sqlite.snapshot import SpoolSnapshot
from tests.support.backup.killed import MESSAGE
from tests.support.backup.life import BOXES, FULL, NO_ROOM, QuickCalls
from tests.support.fakes import stand_in
from tests.support.peers import peers
from tests.support.queue.spools import SpoolReactor, Spools, WorkerSpools

WORKERS = ("", "worker-2/", "worker-3/")
DATABASES = tuple(f"{worker}queue.db" for worker in WORKERS)


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    """A spool with a message that waits, whose content is a file."""
    reactor = SpoolReactor()
    spools = Spools(tmp_path / "data", reactor, QuickCalls())
    spools.quotas[FULL] = NO_ROOM
    spools.open()
    spools.wait(spools.deliver(MESSAGE % (1, b"x" * 100_000), BOXES[0], FULL))
    yield spools
    spools.close()
    reactor.stop()


@pytest.fixture
def copies(spools: Spools) -> SpoolCopies:
    return SpoolCopies(
        spools.spool, spools.root, Disk(spools.calls), Tasks(), stand_in(spools.reactor), Alone()
    )


def give_up(spools: Spools) -> None:
    """Remove what waits from the queue."""
    for message, recipients in spools.waiting():
        spools.wait(spools.spool.record_attempt(message, [], recipients))


def test_a_copy(spools: Spools, copies: SpoolCopies) -> None:
    """Contents that leave the queue while a copy is made are removed after it."""
    outcome = spools.wait(copies.run({}))
    stage = Path(outcome.lines[0])
    assert stage.parent == spools.root / "backup"
    assert [path.read_bytes() for path in stage.glob("contents/*")] == [
        path.read_bytes() for path in spools.contents()
    ]
    assert len(list(stage.glob("mail/*/*/tmp/*"))) == 1
    give_up(spools)
    assert spools.contents() == []


@pytest.mark.parametrize("taken", [False, True])
def test_an_aborted_copy(spools: Spools, copies: SpoolCopies, taken: bool) -> None:
    """Nothing stays of it, and the spool goes on."""
    running: list[Any] = []
    take, snapshot = SpoolSnapshot.take, spools.engine.snapshot

    def cancel() -> None:
        running[0].cancel()

    def taking(self: SpoolSnapshot) -> None:
        take(self)
        spools.reactor.callFromThread(cancel)

    def begin(*arguments: Any) -> Any:
        if not taken:
            cancel()
        return snapshot(*arguments)

    with patch.object(SpoolSnapshot, "take", taking), patch.object(spools.engine, "snapshot", begin):
        running.append(copies.run({}))
        with pytest.raises(CancelledError):
            spools.wait(running[0])
    second = spools.wait(copies.run({}))  # it waits for the end of the first
    assert list((spools.root / "backup").iterdir()) == [Path(second.lines[0])]
    give_up(spools)
    assert spools.contents() == []


def test_what_killed_commands_have_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = (make_stage(tmp_path, Disk()) for _ in range(2))
    os.utime(old, (0, old.stat().st_mtime - STALE - 60))
    third = make_stage(tmp_path, Disk())
    assert sorted((tmp_path / "backup").iterdir()) == sorted([new, third])


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "backup").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        make_stage(tmp_path, Disk())


def test_a_spool_in_memory_has_no_copy(tmp_path: Path) -> None:
    with pytest.raises(StorageRefused, match="memory"):
        MemorySpool().snapshot(tmp_path, tmp_path, lambda: True)


def test_the_spools_of_all_workers(spools: Spools) -> None:
    """Worker 2 copies its own spool. Worker 3 has left one, and does not exist any more."""

    def silent(stage: Path) -> "Deferred[None]":
        spools.reactor.callFromThread(lambda: spools.reactor.advance(PATIENCE))
        return Deferred()

    workers = [WorkerSpools(spools.root, spools.reactor, QuickCalls()) for _ in range(2)]
    workers[1].worker = 3
    workers[1]._make()
    for number, worker in enumerate(workers, 2):
        worker.open()
        worker.wait(worker.deliver(MESSAGE % (number, b"x" * 100_000), BOXES[0]))
    workers[1].leave()
    first, second = peers(2)
    copies, _ = (
        SpoolCopies(each.spool, each.root, Disk(each.calls), Tasks(), stand_in(each.reactor), peer)
        for each, peer in ((spools, first), (workers[0], second))
    )
    stage = Path(spools.wait(copies.run({})).lines[0])
    assert [len(view(stage / path).page(Selection(), 0, 9)) for path in DATABASES] == [1, 1, 1]
    assert [len(list(stage.glob(f"{worker}mail/*/*/tmp/*"))) for worker in WORKERS] == [1, 1, 1]
    second.gone = True
    with pytest.raises(StorageError, match="worker 2 has ended"):
        spools.wait(copies.run({}))
    assert list((spools.root / "backup").iterdir()) == [stage]
    second.gone = False
    second._answers[BACKUP_SPOOL] = silent
    with pytest.raises(CommandFailed, match="within 60 seconds"):
        spools.wait(copies.run({}))
    assert list((spools.root / "backup").iterdir()) == [stage]
    workers[0].close()
