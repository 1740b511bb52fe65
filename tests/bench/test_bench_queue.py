"""``python -m bench.queue``, with a short queue."""

import sys
from pathlib import Path

import pytest

from bench import queue


@pytest.mark.slow
def test_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(queue, "TOGETHER", 7)
    monkeypatch.setattr(sys, "argv", ["bench.queue", "--folder", str(tmp_path), "--messages", "20"])
    assert queue.main() == 0
    _, _, *lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in rows] == ["0", "20"]
    assert all(float(cell) > 0 for row in rows for cell in row[1:])
    assert not list(tmp_path.iterdir())


def test_nothing_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.queue", "--messages", "0"])
    with pytest.raises(SystemExit, match="2"):
        queue.main()
