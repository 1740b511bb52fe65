"""``python -m bench.fixture``, with a few tests in each project."""

import sys
from pathlib import Path

import attrs
import pytest

from bench import fixture

TINY = ["bench", "--tests", "3", "--repetitions", "1"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder to work in, which must be empty at the end."""
    monkeypatch.setattr(sys, "argv", TINY)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(fixture, "OTHERS", [fixture.Package("no-such-package", "", "", "", "")])
    return tmp_path


@pytest.mark.slow
def test_our_fixture(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fixture.main() == 0
    out, err = capsys.readouterr()
    assert "no-such-package is left out: it is not installed (pip install no-such-package)" in err
    _, _, ours, nothing = [[cell.strip() for cell in line.split("|")] for line in out.splitlines()]
    assert (ours[1], nothing[1:5]) == ("mailserver", ["no server", "", "", ""])
    assert all(float(cell.replace(",", "")) > 0 for cell in ours[2:6])
    assert float(ours[5]) > float(nothing[5]) > 10
    assert not list(tiny.iterdir())


@pytest.mark.slow
def test_a_message_that_does_not_arrive(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fixture, "OURS", attrs.evolve(fixture.OURS, messages="[]"))
    assert fixture.main() == 1
    assert "mailserver: test_it.py::test_a_message failed:" in capsys.readouterr().err
    assert not list(tiny.iterdir())


def test_the_time_of_empty_tests_does_not_count() -> None:
    def figures(first: float, test: float, message: float, memory: float) -> dict[str, float]:
        return dict(zip(fixture.UNITS, (first, test, message, memory), strict=True))

    empty = {unit: value for unit, value in figures(100, 1, 0, 30).items() if unit != fixture.MESSAGE}
    said = fixture.table({"": empty, "mailserver": figures(400, 3, 6, 60)})
    assert said.splitlines()[2:] == [
        "| mailserver | 300 | 2.00 | 5.00 | 60.0 |",
        "| no server | | | | 30.0 |",
    ]


@pytest.mark.parametrize("words", [["--tests", "2"], ["--repetitions", "0"]])
def test_wrong_usage_of_bench_fixture(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit, match="2"):
        fixture.main()
