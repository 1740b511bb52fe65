"""``python -m bench.limit``, with very little to do, and what it says without a compiler."""

import re
import sys
from pathlib import Path

import pytest

from bench import limit
from tests.support.e2e.programs import need

TINY = ["--scale", "tiny", "--repetitions", "1", "--workload", "receive-many", "--workload", "pop3-drain"]


@pytest.mark.slow
def test_both_servers_take_the_same_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also ``receive-in-turn``, the one workload that ``python -m bench`` does not have."""
    need("smtp-source")
    need("cc")
    words = [*TINY, "--workload", "receive-in-turn", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench.limit", *words])
    assert limit.main() == 0, capsys.readouterr().err
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\| workload +\| unit +\| +mailserver \| bare C program \|", lines[0])
    rates = [line for line in lines if "/s " in line]
    assert len(rates) == 3
    for line in rates:
        assert all(float(cell.replace(",", "")) > 0 for cell in line.strip("| ").split("|")[2:]), line
    assert not list(tmp_path.iterdir())


def test_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("smtp-source")
    monkeypatch.setattr(limit, "COMPILER", "no-such-compiler")
    monkeypatch.setattr(sys, "argv", ["bench.limit", *TINY, "--folder", str(tmp_path)])
    assert limit.main() == 1
    assert capsys.readouterr().err == (
        "python -m bench.limit: no-such-compiler is not installed (Debian packages gcc and libc6-dev)\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workload", "nothing"], "argument --workload: invalid choice: 'nothing'"),
        (["--repetitions", "0"], "--repetitions must be at least 1"),
        (["--folder", "/nowhere"], "--folder: there is no folder /nowhere"),
    ],
)
def test_wrong_usage(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.limit", *words])
    with pytest.raises(SystemExit) as ended:
        limit.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"python -m bench.limit: {said}")
