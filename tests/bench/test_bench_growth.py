"""``python -m bench.growth``, with very small sizes."""

import os
import sys
import time
from pathlib import Path

import attrs
import pytest

from bench import filling, growth, processes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axis", "actions"),
    [
        ("mailbox", ["first login", "login", "first delivery", "delivery", "login after a delivery"]),
        ("store", ["first login", "login", "first delivery", "delivery"]),
        ("queue", ["first login", "login", "delivery", "relaying"]),
    ],
)
def test_growth(
    axis: str,
    actions: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(growth, "AXES", {axis: attrs.evolve(growth.AXES[axis], sizes=(2, 110, 1000))})
    for name in ("FIRST", "LOGINS", "DELIVERIES", "CHANGES", "SPREAD_OVER"):
        monkeypatch.setattr(growth, name, 3)
    monkeypatch.setattr(growth, "CHECKPOINT", 0.0)
    monkeypatch.setattr(growth, "STEP", 0.05)
    monkeypatch.setattr(filling, "GROUP", 7)
    monkeypatch.setattr(filling, "TOGETHER", 7)
    words = ["--folder", str(tmp_path), "--repetitions", "1", "--most", "110"]
    monkeypatch.setattr(sys, "argv", ["bench.growth", *words])
    assert growth.main() == 0
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.strip().splitlines()
    ]
    assert head[1:-2] == ["start", *actions]
    assert [cells[0] for cells in lines] == ["2", "110"]
    for cells in lines:
        costs = [[float(part.replace(",", "")) for part in cell.split(" / ")] for cell in cells[1:]]
        assert [len(cost) for cost in costs] == [3] * len(actions) + [3, 1, 1]
        assert all(part > 0 for cost in costs for part in cost)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--repetitions", "0"], ["--most", "99"], ["--of", "disk"]])
def test_nothing_to_measure(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.growth", *words])
    with pytest.raises(SystemExit, match="2"):
        growth.main()


@pytest.mark.parametrize("octets", [100, 2048, 4096])
def test_a_message_to_fill_with(octets: int) -> None:
    text = filling.text(octets)
    assert octets <= len(text) <= octets + 2
    assert text.endswith(b"x\r\n")
    assert max(map(len, text.splitlines())) <= 78


def test_the_clock_of_a_process() -> None:
    before = time.process_time()
    found = processes.clock(os.getpid())
    assert before <= found <= time.process_time()
    with pytest.raises(OSError):
        processes.clock(2**22 + 1)
