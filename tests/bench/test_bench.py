"""``python -m bench``, as a user calls it, on our server alone and with very little to do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import __main__ as command_line
from bench import smtpload, workloads
from bench.errors import BenchError
from bench.servers import Server
from tests.support.e2e.programs import need
from tests.support.e2e.server import ROOT
from tests.support.runs import rest_slow

BENCH = [sys.executable, "-m", "bench"]
SOON = ["receive-many", "pop3-check", "idle"]
REST = ["receive-many", "receive-shared", "pop3-first", "pop3-drain"]
TINY = ["--scale", "tiny", "--repetitions", "1", "--server", "mailserver"]


def bench(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run([*BENCH, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("workloads", rest_slow([SOON, REST]), ids=["soon", "rest"])
def test_table_and_report(tmp_path: Path, workloads: list[str]) -> None:
    need("smtp-source")
    folder, report = tmp_path / "disk", tmp_path / "report.json"
    folder.mkdir()
    chosen = [word for name in workloads for word in ("--workload", name)]
    done = bench(*TINY, *chosen, "--folder", folder, "--json", report)
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir()), "the server's files are removed"

    lines = [cells(line) for line in done.stdout.splitlines() if line.startswith("|")]
    assert lines[0] == ["workload", "unit", "mailserver"]
    assert {len(line) for line in lines} == {3}
    titles = [title for title, _, _ in lines[2:] if title]
    assert titles[0] == "receive 4 KiB, 8 connections, 5 messages each"
    assert len(titles) == len(workloads)
    units = [unit for _, unit, _ in lines[2:5]]
    assert units == ["delivered/s", "CPU ms a message", "load generator's CPU ms a message"]
    for title, unit, figure in lines[2:]:
        assert float(figure.replace(",", "")) > (0 if unit.endswith("/s") else -100), (title, unit)

    written = json.loads(report.read_bytes())
    assert [run["workload"] for run in written["runs"]] == workloads
    assert list(written["medians"]) == workloads
    assert written["medians"]["receive-many"]["mailserver"]["delivered/s"] > 0
    assert not written["errors"]


def test_list() -> None:
    done = bench("--list", "--scale", "tiny")
    assert done.returncode == 0
    assert "receive-1       receive 4 KiB, 8 connections, 1 message each" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workload", "nothing"], "argument --workload: invalid choice: 'nothing'"),
        (["--scale", "huge"], "argument --scale: invalid choice: 'huge'"),
        (["--repetitions", "0"], "--repetitions must be at least 1"),
        (["--folder", "/nowhere"], "--folder: there is no folder /nowhere"),
        (["--json", "/nowhere/file"], "--json: /nowhere/file cannot be a file"),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    done = bench(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"python -m bench: {said}")
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_without_smtp_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "program", lambda name: None)
    with pytest.raises(BenchError, match=r"^smtp-source is not installed \(Debian package postfix\)$"):
        command_line.run(TINY)


@pytest.mark.parametrize("change", rest_slow([1, -1]), ids=["lost", "there-twice"])
def test_a_wrong_count_is_an_error(
    change: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if more or less had been sent than has arrived."""
    need("smtp-source")

    def send(server: Server, users: Sequence[str], *rest: int) -> float:
        seconds = smtpload.send(server, users, *rest)
        server.sent[users[0]] += change
        return seconds

    monkeypatch.setattr(workloads, "send", send)
    assert command_line.run([*TINY, "--workload", "receive-1", "--folder", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert f"few0: {10 + change} messages were sent, STAT reports 10" in err
    assert "failed" in out


def test_an_end_from_outside_leaves_nothing(tmp_path: Path) -> None:
    need("smtp-source")
    process = subprocess.Popen(
        [*BENCH, *TINY, "--folder", tmp_path], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + 30
        while not (ready := list(tmp_path.glob("*/ready.json"))) and time.monotonic() < end:
            time.sleep(0.02)
        server = json.loads(ready[0].read_bytes())["pid"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(server, signal.SIGKILL)
