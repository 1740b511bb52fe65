"""How many workers a configuration means."""

import os
from pathlib import Path

import pytest

from mailserver.app.workers.count import worker_count
from mailserver.config.loader import load

ATRN = '[relay]\ndomains = ["backup.example"]\natrn = { "backup.example" = ["alice@example.org"] }\n'
ALICE = '[[account]]\naddress = "alice@example.org"\npassword = "secret"\n'


@pytest.mark.parametrize(
    ("text", "processors", "count"),
    [
        ("", 1, 1),
        ("", 2, 1),
        ("", 3, 2),
        ("", 64, 63),
        ('workers = "auto"', 4, 3),
        ("workers = 1", 8, 1),
        ("workers = 5", 2, 5),
        ('[storage]\nengine = "memory"', 8, 1),
        (ALICE + ATRN, 8, 1),
    ],
)
def test_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, processors: int, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    path = tmp_path / "mailserver.toml"
    path.write_text(f'hostname = "mail.example.org"\ndomains = ["example.org"]\n{text}')
    assert worker_count(load(path, {})) == count
