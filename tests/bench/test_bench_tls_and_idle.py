"""``python -m bench.tls``, ``bench.idle`` and ``bench.chunks``, with very little to do."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from bench import chunks, crowd, idle, tls
from bench.errors import BenchError
from bench.servers import HashedMailserver


def figures(said: str) -> dict[str, list[float]]:
    """The cells of a table, by the first of each line; percentiles are two."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines()]
    assert len({len(line) for line in lines}) == 1
    return {
        title: [float(part.replace(",", "")) for cell in cells for part in cell.split(" / ")]
        for title, *cells in lines[2:]
    }


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder to work in, which must be empty at the end."""
    monkeypatch.setattr(tls, "CONNECTIONS", 2)
    rows = [attrs.evolve(row, each=min(row.each, 3), turns=2) for row in tls.ROWS]
    monkeypatch.setattr(tls, "ROWS", rows)
    monkeypatch.setattr(idle, "SILENCE", 0.1)
    monkeypatch.setattr(idle, "VISITS", 10)
    monkeypatch.setattr(sys, "argv", ["bench", "--folder", str(tmp_path)])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.slow
def test_tls(little: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.argv += ["--repetitions", "1"]
    assert tls.main() == 0
    found = figures(capsys.readouterr().out)
    assert list(found) == [row.title for row in tls.ROWS]
    assert all(cells[0] > 0 for cells in found.values())
    assert not list(little.iterdir())


@pytest.mark.slow
def test_chunks(little: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sys.argv += ["--repetitions", "1"]
    monkeypatch.setattr(chunks, "MESSAGES", 1)
    monkeypatch.setattr(chunks, "LINES", 2000)
    assert chunks.main() == 0
    assert list(figures(capsys.readouterr().out)) == list(chunks.ROWS)
    assert not list(little.iterdir())


@pytest.mark.slow
def test_tls_notices_what_is_lost(
    little: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sys.argv += ["--repetitions", "1"]
    monkeypatch.setattr("bench.pop3load.counts", lambda address, users: dict.fromkeys(users, 1))
    assert tls.main() == 1
    assert "messages were sent, STAT reports" in capsys.readouterr().err
    assert not list(little.iterdir())


@pytest.mark.slow
def test_idle(little: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.argv += ["--connections", "300"]
    assert idle.main() == 0
    found = figures(capsys.readouterr().out)
    assert list(found) == [kind.title for kind in idle.KINDS]
    assert [cells[0] for cells in found.values()] == [299, 299, 59, 59]
    assert not list(little.iterdir())


@pytest.mark.parametrize("number", ["100", "10001"])
def test_idle_within_the_limits(little: Path, number: str) -> None:
    sys.argv += ["--connections", number]
    with pytest.raises(SystemExit, match="2"):
        idle.main()


def test_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (64, 512)
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda which: limits)
    monkeypatch.setattr("resource.setrlimit", lambda which, limits: raised.append(limits))
    told = "9000 connections need 9400 file descriptors, and the hard limit is 512"
    assert crowd.allow_descriptors(9000) == told
    assert not raised
    assert not crowd.allow_descriptors(100)
    assert raised == [(500, 512)]
    limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert not crowd.allow_descriptors(9000)
    assert raised == [(500, 512)]


def test_a_crowd_that_is_told_something(little: Path) -> None:
    server = idle.IdleServer(little, ())
    try:
        server.start()
        with crowd.Crowd(server.smtp, crowd.SMTP) as clients:
            clients.grow(3)
            clients.check()
            clients.clients[1].sendall(b"NOOP\r\n")
            clients.clients[1].recv(3)
            with pytest.raises(BenchError, match="received b' 2"):
                clients.check()
    finally:
        server.stop()


def test_passwords_are_hashed_where_that_is_asked_for(little: Path) -> None:
    assert 'password = "$argon2id$' in HashedMailserver(little, ["one"]).configuration()
