"""``auth.passwd_file``, while no server runs: a command leaves it current."""

import os
from pathlib import Path

import pytest

from tests.support.e2e.commands import in_process

CONFIG = """
hostname = "mail.example.org"
data = "data"
domains = ["example.org"]
allow_root = true
account = [{ address = "alice", password = "secret" }]
[auth]
passwd_file = "accounts.passwd"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mailserver.toml"
    path.write_text(CONFIG)
    (tmp_path / "data").mkdir(mode=0o700)
    return path


def test_each_change_is_in_the_file_and_seen_by_its_time(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "accounts.passwd"

    def run(*words: str) -> list[str]:
        status, _, err = in_process(*words, "--config", str(config), given=b"secret\n")
        assert (status, err) == (0, [])
        return [line.partition(":{")[0] for line in file.read_text().splitlines()]

    assert run("account", "list") == ["alice@example.org"]
    home = tmp_path / "data/mail/example.org/alice"
    assert file.read_text().endswith(f":{os.geteuid()}:{os.getegid()}::{home}::\n")
    assert run("account", "add", "bob") == ["alice@example.org", "bob@example.org"]
    # Dovecot compares the size, and the time in whole seconds.
    times = [int(file.stat().st_mtime)]
    for _ in range(2):
        run("account", "passwd", "bob")
        times.append(int(file.stat().st_mtime))
    assert times == sorted(set(times))
    unchanged = file.stat()
    run("account", "list")
    assert file.stat() == unchanged
    assert run("account", "disable", "bob") == ["alice@example.org"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_fails_no_command(config: Path, tmp_path: Path) -> None:
    (tmp_path / "accounts.passwd").mkdir()
    assert in_process("account", "list", "--config", str(config))[0] == 0
