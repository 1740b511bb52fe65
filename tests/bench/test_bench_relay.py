"""``python -m bench.relay``, with a short queue."""

import sys
from pathlib import Path

import pytest

from bench import filling, relay
from tests.support.e2e.programs import need


@pytest.mark.slow
def test_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    need("smtp-sink")
    words = ["--folder", str(tmp_path), "--domains", "10", "--dead", "8", "--silent", "4", "--messages", "40"]
    monkeypatch.setattr(filling, "TOGETHER", 7)
    monkeypatch.setattr(sys, "argv", ["bench.relay", *words])
    assert relay.main() == 0
    _, _, *lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[:3] for row in rows] == [["2", "0", "8"], ["10", "8", "40"]]
    assert all(float(cell) > 0 for row in rows for cell in row[3:])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("live", "dead"), [(100, 900), (1, 6), (3, 0)])
def test_domains(live: int, dead: int) -> None:
    world = relay.World(live, dead)
    domains = world.domains()
    assert len({*domains}) == live + dead
    assert sum(domain.startswith("live") for domain in domains) == live
    assert len({world.address(number) for number in range(len(domains))}) == live + dead


@pytest.mark.parametrize(
    "words", [["--dead", "0"], ["--silent", "901"], ["--domains", "5", "--dead", "5"], ["--messages", "9"]]
)
def test_nothing_to_measure(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.relay", *words])
    with pytest.raises(SystemExit, match="2"):
        relay.main()
