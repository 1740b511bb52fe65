"""``python -m bench.checks``, with a few messages."""

import re
import sys
from pathlib import Path

import pytest

from bench import checks
from bench.errors import BenchError


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.checks", "--repetitions", "1", "--folder", str(tmp_path)])
    monkeypatch.setattr(checks, "CONNECTIONS", 2)
    monkeypatch.setattr(checks, "EACH", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("little")
def test_each_row_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    logs: list[str] = []
    stop = checks.CheckingServer.stop

    def stopped(self: checks.CheckingServer) -> None:
        stop(self)
        logs.append((self.folder / "output.log").read_text())

    monkeypatch.setattr(checks.CheckingServer, "stop", stopped)
    assert checks.main() == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {row.title}" for row in checks.ROWS]
    passed = re.findall(r"sender checks: SPF pass .*; DKIM (.*); DMARC pass example.org: accepted", logs[0])
    both = "pass example.org, pass example.org"
    assert sorted(passed) == sorted(["none"] * 4 + ["pass example.org"] * 4 + [both] * 4)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("little")
def test_a_message_that_is_rejected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rejected(*args: object) -> None:
        raise BenchError("550 is the answer")

    monkeypatch.setattr(checks, "say", rejected)
    assert checks.main() == 1
    assert "no checks: 550 is the answer" in capsys.readouterr().err
