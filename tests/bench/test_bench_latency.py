"""``python -m bench.latency``, with a few messages."""

import re
import sys
from pathlib import Path

import pytest

from bench import latency


@pytest.mark.slow
def test_latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.latency", "--folder", str(tmp_path), "--messages", "3"])
    assert latency.main() == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(r"first [\d.]+ ms; then p50 [\d.]+ ms, p99 [\d.]+ ms, p100 [\d.]+ ms\n", shown)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_message_that_does_not_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(latency, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "argv", ["bench.latency", "--folder", str(tmp_path), "--messages", "1"])
    monkeypatch.setattr(latency.OtherServer, "process_request", lambda *_: None)
    assert latency.main() == 1
    assert "did not arrive" in capsys.readouterr().err
