"""The short form of the kill matrix: points of a workload, and a control that must fail. The rest is slow."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.kill import Options, Tally, run
from tests.crash.tracing import need_strace
from tests.crash.workloads import CONTROLS, WORKLOADS

POINTS = 2
# The other workloads and controls are tried with the slow tests.
SOON = ("fan", "relay", "lose")
NOTICED = {"early": "is lost", "lose": "is lost", "tear": "is torn", "back": "is back"}


@pytest.fixture(autouse=True)
def strace() -> None:
    need_strace()


def soon_or_slow(names: Iterable[str]) -> list[Any]:
    return [name if name in SOON else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("workload", soon_or_slow(WORKLOADS))
def test_killed_at_a_system_call(tmp_path: Path, workload: str) -> None:
    tally = Tally()
    run(workload, POINTS, tmp_path, tally, Options(background=0))
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.points == POINTS, tally


@pytest.mark.parametrize("control", soon_or_slow(CONTROLS))
def test_control(tmp_path: Path, control: str) -> None:
    tally = Tally()
    options = Options(background=0, control=control, give_up=1)
    run("pop3" if control == "back" else "fan", 40, tmp_path, tally, options)
    assert NOTICED[control] in "".join(tally.violations), tally
