"""The short form of the crash states, each control, which must fail, and what the model of a disk forgets."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.broken import BROKEN
from tests.crash.disk_model import (
    FOLDER,
    GONE,
    Appended,
    Changed,
    Damage,
    Disk,
    Entry,
    Failed,
    Loss,
    Step,
    Synced,
    Tree,
)
from tests.crash.sequences import WORKLOADS
from tests.crash.states import CONTROLS, Options, search
from tests.support.runs import rest_slow

STATES = 15
ALL_CALLS = 1000

# ---------------------------------------------------------------- the search


@pytest.mark.parametrize("states", rest_slow([STATES // 2, 2 * STATES]))
@pytest.mark.parametrize("workload", WORKLOADS)
def test_no_state_breaks_the_promise(workload: str, states: int) -> None:
    tally = search(Options(states=states, workloads=[workload], kills=1))
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.states.total() == states


def test_killed_while_it_makes_its_folders() -> None:
    options = Options(states=4 * STATES, workloads=["start"], kills=ALL_CALLS)
    tally = search(options)
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.states.total() == options.states
    assert tally.again.total() > 0


NOTICED = {
    "no-sync": "is lost",
    "no-file-sync": "is torn",
    "no-folder-sync": "is back",
    "retired-first": "is lost",
    "answered-first": "is lost",
    "removed-first": "is back",
    "record-first": "neither delivered nor bounced",
    "no-record": "was delivered, and waits",
    "report-alone": "and is bounced",
    "removal-alone": "neither delivered nor bounced",
    "bounce-uncertain": "bounced falsely",
}
RELAYS = {"record-first": "relayed", "no-record": "relayed", "bounce-uncertain": "deferred"}


@pytest.mark.parametrize("control", rest_slow([*CONTROLS, *BROKEN], first=3))
def test_control(control: str) -> None:
    workload = RELAYS.get(control, "refused") if control in BROKEN else "removed-late"
    tally = search(Options(seed=1, states=1000, workloads=[workload], kills=0, control=control))
    assert any(NOTICED[control] in violation for violation in tally.violations), tally


# ---------------------------------------------------------------- the model

TEXT = b"0123456789"
NEW = "mail/new"


def _made(path: str, file: int) -> Changed:
    folder, _, name = path.rpartition("/")
    return Changed(f"create {path}", (Entry(folder, name, file),))


def _renamed(source: str, target: str, file: int) -> Changed:
    (gone,), (come,) = _made(source, GONE).entries, _made(target, file).entries
    return Changed(f"rename {source} {target}", (come, gone))


BASE = Tree({"mail": FOLDER, "mail/new": FOLDER, "mail/tmp": FOLDER})
WRITTEN = [_made("mail/tmp/a", 1), Appended("write", 1, TEXT)]
SAVED = [*WRITTEN, Synced("fsync", 1), Synced("fsync", "mail/tmp")]
RENAMED = [*SAVED, _renamed("mail/tmp/a", "mail/new/a", 1)]
IN_TURN = [_made("mail/new/b", 2), _made("mail/new/a", 1)]


def _possible(steps: list[Step], **options: bool) -> Iterator[tuple[tuple[str, ...], bytes | None]]:
    """The files that a power cut after these steps may leave, and the octets of the first."""
    disk = Disk(BASE, **options)
    for step in steps:
        disk.do(step)
    for _, loss in zip(range(300), disk.losses(random.Random(0)), strict=False):
        tree = disk.tree(loss)
        yield tuple(path for path, file in tree.paths.items() if file > 0), tree.data.get(1)


TMP, IN_NEW, OTHER, NOWHERE = ("mail/tmp/a",), ("mail/new/a",), ("mail/new/b",), ()
BOTH = (*IN_NEW, *TMP)


@pytest.mark.parametrize(
    ("steps", "options", "names"),
    [
        (WRITTEN, {}, {TMP, NOWHERE}),
        ([*WRITTEN, Synced("fsync", 1)], {}, {TMP, NOWHERE}),
        ([*WRITTEN, Synced("fsync", "mail/new")], {}, {TMP, NOWHERE}),
        ([*WRITTEN, Synced("fsync", "mail/tmp")], {}, {TMP}),
        ([*WRITTEN, Synced("syncfs", None)], {}, {TMP}),
        (RENAMED, {}, {BOTH, TMP, IN_NEW, NOWHERE}),
        (RENAMED, {"split": False}, {TMP, IN_NEW}),
        ([*RENAMED, Synced("fsync", "mail/new")], {}, {BOTH, IN_NEW}),
        ([*RENAMED, Synced("fsync", "mail/new")], {"split": False}, {IN_NEW}),
        ([*RENAMED, Synced("fsync", "mail/tmp")], {}, {IN_NEW, NOWHERE}),
        (IN_TURN, {}, {NOWHERE, OTHER, IN_NEW, (*IN_NEW, *OTHER)}),
        (IN_TURN, {"ordered": True}, {NOWHERE, OTHER, (*IN_NEW, *OTHER)}),
        ([_made("x", FOLDER), _made("x/a", 1), Synced("fsync", "x")], {}, {("x/a",), ()}),
    ],
)  # fmt: skip
def test_names_that_may_be_left(
    steps: list[Step], options: dict[str, bool], names: set[tuple[str, ...]]
) -> None:
    assert {found for found, _ in _possible(steps, **options)} == names


@pytest.mark.parametrize(
    ("steps", "safe"),
    [
        (WRITTEN, False),
        ([*WRITTEN, Synced("fsync", "mail/tmp")], False),
        ([*WRITTEN, Synced("fsync", 1)], True),
        ([*WRITTEN, Synced("syncfs", None)], True),
        ([*WRITTEN, Failed("fsync", 1), Synced("fsync", 1)], False),
        ([*WRITTEN, Failed("syncfs", None), Synced("syncfs", None)], False),
    ],
)
def test_octets_that_may_be_left(steps: list[Step], safe: bool) -> None:
    found = {octets for names, octets in _possible(steps) if names}
    assert TEXT in found
    if safe:
        assert found == {TEXT}
    else:
        assert {b"", bytes(len(TEXT))} < found
        assert all(octets == bytes(len(octets)) or set(octets) <= {0, *TEXT} for octets in found if octets)


def test_what_was_lost_is_told() -> None:
    disk = Disk(BASE)
    for step in RENAMED:
        disk.do(step)  # type: ignore[arg-type]
    told = disk.describe(Loss(frozenset([1]), ((1, Damage(3)),)))
    assert "rename mail/tmp/a mail/new/a: -mail/tmp/a" in told[0]
    assert "of the 10 octets of file 1" in told[1]


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.crash.states.folder", lambda: str(tmp_path / "place"))
    (tmp_path / "place").mkdir()
    search(Options(states=1, workloads=["one"], kills=0))
    assert list(tmp_path.iterdir()) == []
