"""The short form of the power cuts, on ext4, with both controls; and the disk that is turned off."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import power
from tests.crash.device import FSYNC, PIECE, READ, TRANSFER, WRITE, Cut, Image
from tests.support.e2e.programs import missing
from tests.support.e2e.server import ROOT
from tests.support.runs import rest_slow


@pytest.mark.parametrize(
    ("words", "verdict"),
    rest_slow(
        [
            (["--cuts", "1"], "ext4, the server as it is: nothing lost"),
            (["--cuts", "3"], "ext4, the server as it is: nothing lost"),
            (["--cuts", "1", "--control", "no-sync"], "ext4, no-sync: caught"),
            (["--cuts", "1", "--control", "eatmydata"], "ext4, eatmydata: caught"),
        ]
    ),
    ids=["promise", "more-cuts", "no-sync", "eatmydata"],
)
def test_power_cuts(words: list[str], verdict: str) -> None:
    if reason := power.impossible():
        pytest.skip(reason)
    if reason := power.not_installed(["ext4"], words[-1]):
        missing(reason)
    command = [sys.executable, "-m", "tests.crash.power", "--fs", "ext4", *words]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-10_000:]
    assert verdict in done.stdout


def write(image: Image, offset: int, data: bytes) -> None:
    image.answer(WRITE, TRANSFER.pack(0, offset, len(data), 0, 0, 0, 0) + data)


def read(image: Image, offset: int, size: int) -> bytes:
    return image.answer(READ, TRANSFER.pack(0, offset, size, 0, 0, 0, 0))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_only_what_was_not_flushed_is_lost(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"0" * 40 * PIECE)
    image = Image(str(path))
    write(image, 0, b"1" * 20 * PIECE)
    image.answer(FSYNC, b"")
    write(image, 10 * PIECE, b"2" * 20 * PIECE)
    write(image, 15 * PIECE, b"3" * PIECE)
    assert read(image, 10 * PIECE, 6 * PIECE) == b"2" * 5 * PIECE + b"3" * PIECE
    image.announce(Cut(share, seed=1, writes=1, seconds=60))
    with pytest.raises(OSError, match="no power"):
        write(image, 39 * PIECE, b"4" * PIECE)
    for request in (READ, WRITE, FSYNC):
        with pytest.raises(OSError, match="no power"):
            image.answer(request, b"")

    stored = path.read_bytes()
    pieces = [stored[start : start + PIECE] for start in range(0, len(stored), PIECE)]
    assert all(piece == piece[:1] * PIECE for piece in pieces)
    seen = b"".join(piece[:1] for piece in pieces).decode()
    none = "1" * 20 + "0" * 20
    everything = "1" * 10 + "2" * 5 + "3" + "2" * 14 + "0" * 9 + "4"
    counts = json.loads(capsys.readouterr().out)
    assert (counts["writes"], counts["flushes"], counts["unflushed"]) == (4, 1, 22)
    if share == 0.5:
        assert 0 < counts["dropped"] < 22
        assert seen not in (none, everything)
        assert all(one in (was, now, "2") for one, was, now in zip(seen, none, everything, strict=True))
    else:
        assert counts["dropped"] == (0 if share else 22)
        assert seen == (everything if share else none)
