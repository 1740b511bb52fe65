"""The ``mailserver`` command: what it prints, and its exit status; as a process where that may matter."""

import os
import pty
import subprocess
import sys

import pytest

from mailserver import __version__
from mailserver.accounts.passwords import StoredPassword
from tests.support.e2e.commands import COMMAND, in_process
from tests.support.e2e.server import ROOT
from tests.support.runs import rest_slow


def run(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *words], input=given, capture_output=True, timeout=120)


def test_a_process() -> None:
    done = run("passwd", given=b"wonderland\nsecond line\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"$argon2id$") and done.stdout.count(b"\n") == 1
    done = run("passwd", given=b"\n")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"mailserver: the password is empty\n")
    done = run("passwd", "secret")
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize(
    "password", rest_slow(["$argon2id$ \u00e4 ", "wonderland", "two words ", "p\u00e4ss"])
)
def test_passwd_prints_a_hash_of_what_it_reads(password: str) -> None:
    status, [line], err = in_process("passwd", given=password.encode() + b"\nsecond line\n")
    assert (status, err) == (0, [])
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
    ("given", "wrong"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\n", "is not UTF-8")]
)
def test_what_is_no_password_is_refused(given: bytes, wrong: str) -> None:
    assert in_process("passwd", given=given) == (1, [], [f"mailserver: the password {wrong}"])


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["queue", "nonsense"], ["passwd", "secret"], ["--nonsense"], ["passwd", "--nonsense"]],
)
def test_wrong_usage_is_one_line_and_status_2(words: list[str]) -> None:
    status, out, [line] = in_process(*words)
    assert (status, out) == (2, [])
    assert "--help" in line


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        (
            [],
            [
                "account",
                "alias",
                "backup",
                "config",
                "dkim",
                "dns",
                "doctor",
                "domain",
                "explain",
                "export",
                "fixture",
                "import",
                "init",
                "list",
                "passwd",
                "quarantine",
                "queue",
                "reload",
                "restore",
                "sendmail",
                "top",
                "trace",
                "verify",
            ],
        ),
        (["queue"], ["expire", "hold", "list", "release", "remove", "retry", "show", "summary"]),
    ],
)
def test_help_lists_the_commands(words: list[str], commands: list[str]) -> None:
    status, out, err = in_process(*words, "--help")
    assert (status, err) == (0, [])
    told = dict(line.split(maxsplit=1) for line in out[out.index("Commands:") + 1 :])
    assert sorted(told) == commands


@pytest.mark.parametrize(
    "words",
    [[], ["queue"], ["dkim"], ["account"], ["account", "app-password"], ["alias"], ["list"], ["import"]],
    ids=" ".join,
)
def test_a_group_without_a_command_prints_its_help(words: list[str]) -> None:
    status, out, err = in_process(*words)
    assert (status, err) == (2, [])
    assert out == in_process(*words, "--help")[1]
    assert "Commands:" in out


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "mailserver"]
    done = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"mailserver {__version__}\n")
    done = subprocess.run([*command, "nonsense"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_version() -> None:
    assert in_process("--version") == (0, [f"mailserver {__version__}"], [])
