"""The ``mailserver`` command as a process: what it prints, and its exit status."""

import os
import pty
import subprocess
import sys

import pytest

from mailserver import __version__
from mailserver.auth.passwords import StoredPassword

COMMAND = [sys.executable, "-c", "from mailserver.admin.main import main; main()"]


def run(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *words], input=given, capture_output=True, timeout=30)


@pytest.mark.parametrize("password", ["wonderland", "two words ", "p\u00e4ss", "$argon2id$"])
def test_passwd_prints_a_hash_of_what_it_reads(password: str) -> None:
    done = run("passwd", given=password.encode() + b"\nsecond line\n")
    assert (done.returncode, done.stderr) == (0, b"")
    [line] = done.stdout.decode().splitlines()
    assert line.startswith("$argon2id$")
    assert StoredPassword.read(line).verify(password)


def test_passwd_asks_twice_and_shows_nothing() -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen([*COMMAND, "passwd"], stdin=follower, stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    shown = b""
    for _ in range(2):
        while not shown.endswith((b"Password: ", b"confirmation: ")):
            shown += os.read(leader, 1000)
        os.write(leader, b"wonderland\n")
        shown += b"|"
    assert process.stdout is not None
    line = process.stdout.read().decode().strip()
    process.stdout.close()
    assert process.wait(30) == 0
    os.close(leader)
    assert b"wonderland" not in shown
    assert StoredPassword.read(line).verify("wonderland")


@pytest.mark.parametrize(
    ("given", "wrong"), [(b"", b"is empty"), (b"\n", b"is empty"), (b"\xff\n", b"is not UTF-8")]
)
def test_what_is_no_password_is_refused(given: bytes, wrong: bytes) -> None:
    done = run("passwd", given=given)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"mailserver: the password " + wrong + b"\n"


@pytest.mark.parametrize(
    "words", [[], ["queue"], ["nonsense"], ["passwd", "secret"], ["--nonsense"], ["passwd", "--nonsense"]]
)
def test_wrong_usage_is_one_line_and_status_2(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    [line] = done.stderr.decode().splitlines()
    assert "--help" in line


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ([], ["account", "alias", "import", "list", "passwd", "queue", "reload", "verify"]),
        (["queue"], ["list", "show"]),
    ],
)
def test_help_lists_the_commands(words: list[str], commands: list[str]) -> None:
    done = run(*words, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().partition("Commands:\n")[2].splitlines()
    told = dict(line.split(maxsplit=1) for line in lines)
    assert sorted(told) == commands


def test_version() -> None:
    assert run("--version").stdout.decode() == f"mailserver {__version__}\n"
