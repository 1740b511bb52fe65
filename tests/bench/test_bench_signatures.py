"""``python -m bench.signatures``, for one short message."""

import re
import sys

import pytest

from bench import signatures


def test_signatures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.signatures", "--repetitions", "1"])
    monkeypatch.setattr(signatures, "ENOUGH", 0.001)
    monkeypatch.setattr(signatures, "SIZES", {"4 KiB": 4096})
    assert signatures.main() == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| 4 KiB, {title}" for title in signatures.ROWS]
    assert all(re.fullmatch(r"\| .+ \| [\d.]+ \| [\d.]+ \|", row) for row in rows)


def test_a_signature_that_is_not_valid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.signatures"])
    monkeypatch.setattr(signatures, "signed", lambda signers, chunks: b"DKIM-Signature: none\r\n")
    monkeypatch.setattr(signatures, "passes", lambda head, chunks, records: False)
    assert signatures.main() == 1
    assert "a signature is not valid" in capsys.readouterr().err
