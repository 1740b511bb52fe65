"""The short form of the kill matrix: points of a workload. The other ones, and the controls, are slow."""

import re
from pathlib import Path

import pytest

from tests.crash.kill import Options, Tally, run
from tests.crash.tracing import need_strace
from tests.crash.workloads import CONTROLS, WORKLOADS
from tests.support.runs import rest_slow

SOON = [("relay", 1)]
REST = [(workload, 2) for workload in sorted(WORKLOADS)]
NOTICED = {"early": "is lost", "lose": "is lost", "tear": "is torn", "back": "is back"}


@pytest.fixture(autouse=True)
def strace() -> None:
    need_strace()


@pytest.mark.parametrize(("workload", "points"), rest_slow([*SOON, *REST]))
def test_killed_at_a_system_call(tmp_path: Path, workload: str, points: int) -> None:
    tally = Tally()
    run(workload, points, tmp_path, tally, Options(background=0))
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.points == points, tally


@pytest.mark.slow
def test_a_worker_is_killed_at_a_system_call(tmp_path: Path) -> None:
    tally = Tally()
    run("pop3", 2, tmp_path, tally, Options(background=0, workers=3))
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.points == 2, tally


@pytest.mark.slow
@pytest.mark.parametrize(
    ("control", "workload", "noticed"),
    [
        ("record-first", "uncertain", "neither delivered nor bounced"),
        ("no-record", "relay", "times, in the lives"),
        ("report-alone", "reports", "was reported twice"),
        # Which of the two depends on the recipient whose report is lost first.
        ("removal-alone", "reports", "neither delivered nor bounced|has no report as relayed"),
        ("bounce-uncertain", "uncertain", "bounced falsely"),
    ],
)
def test_control_of_relaying(tmp_path: Path, control: str, workload: str, noticed: str) -> None:
    tally = Tally()
    run(workload, 100, tmp_path, tally, Options(background=0, control=control, give_up=1))
    assert re.search(noticed, "".join(tally.violations)), tally


@pytest.mark.slow
@pytest.mark.parametrize("control", CONTROLS)
def test_control(tmp_path: Path, control: str) -> None:
    tally = Tally()
    options = Options(background=0, control=control, give_up=1)
    run("pop3" if control == "back" else "fan", 40, tmp_path, tally, options)
    assert NOTICED[control] in "".join(tally.violations), tally
