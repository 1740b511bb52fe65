"""``kill -9`` at system calls of a backup and of a restoration: nothing is lost, and the next one ends.

``BACKUP_KILL_STEP=1`` tries every call.
"""

import os
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from mailserver.backup.generations import Generations
from mailserver.durable.disk import Disk
from tests.support.backup.killed import (
    FarCalls,
    back_up,
    killed_at,
    make_data,
    problems,
    restore,
    tree,
)
from tests.support.backup.life import QuickCalls
from tests.support.queue.spools import SpoolReactor
from tests.support.runs import rest_slow


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose server was killed."""
    reactor = SpoolReactor()
    make_data(tmp_path / "data", reactor)
    reactor.stop()
    return tmp_path / "data"


def restored(folder: Path, target: Path) -> dict[str, bytes | None]:
    restore(folder, target, Disk(QuickCalls()))
    return tree(target)


STEP = int(os.environ.get("BACKUP_KILL_STEP", 29))


@pytest.mark.parametrize(
    ("calls", "first"), rest_slow([(QuickCalls, 1), (FarCalls, 1), (QuickCalls, 1 + STEP // 2)])
)
def test_a_killed_backup(data: Path, tmp_path: Path, calls: type[QuickCalls], first: int) -> None:
    before = tree(data)
    folder = tmp_path / "backups"
    back_up(data, folder, Disk(calls()))
    for number in count(first, STEP):
        killed = killed_at(number, calls(), partial(_third, data, folder))
        assert tree(data) == before
        complete = Generations(folder, Disk()).complete()
        assert complete and [problems(each) for each in complete] == [[]] * len(complete)
        back_up(data, folder, Disk(calls()), keep=1)
        assert [path.name for path in folder.iterdir() if path.name != ".lock"] == [
            path.name for path in Generations(folder, Disk()).complete()
        ]
        if not killed:
            break
    assert number > 50
    assert restored(folder, tmp_path / "restored") == before


def _third(data: Path, folder: Path, disk: Disk) -> None:
    back_up(data, folder, disk, keep=1)


@pytest.mark.parametrize(("replace", "first"), rest_slow([(True, 1), (False, 1), (True, 1 + STEP // 2)]))
def test_a_killed_restoration(data: Path, tmp_path: Path, replace: bool, first: int) -> None:
    """The data directory is the old one or the new one, whole; a crash between the last renames leaves none,
    and the next attempt completes it. What was there before is never lost."""
    folder, target = tmp_path / "backups", tmp_path / "place" / "mail"
    back_up(data, folder, Disk(QuickCalls()))
    wanted = restored(folder, tmp_path / "wanted")
    target.parent.mkdir()
    old = {"mine": b"old"}
    for number in count(first, STEP):
        if replace:
            target.mkdir()
            (target / "mine").write_bytes(b"old")
        killed = killed_at(number, QuickCalls(), lambda disk: restore(folder, target, disk, replace=replace))
        asides = [path for path in target.parent.iterdir() if ".before-" in path.name]
        if target.exists():
            assert tree(target) in ([old, wanted] if replace else [wanted])
        if not target.exists() or tree(target) == old:
            assert killed
            assert (tree(target) if target.exists() else tree(*asides) if asides else old) == old
            restore(folder, target, Disk(QuickCalls()), replace=replace)
        assert tree(target) == wanted
        asides = [path for path in target.parent.iterdir() if ".before-" in path.name]
        assert [tree(each) for each in asides] == [old] * replace
        for path in target.parent.iterdir():
            path.rename(tmp_path / f"done-{number}-{path.name}")
        if not killed:
            break
    assert number > 50
