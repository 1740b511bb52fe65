"""The manual pages and the completion of shells: they are complete, and the programs for them take them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailserver.cli.main import cli
from mailserver.cli.pages import roff
from mailserver.cli.pages.commands import command_page
from mailserver.cli.pages.keys import configuration_page
from tests.support.e2e.programs import missing, need
from tests.support.e2e.server import ROOT

PAGES: dict[str, Callable[[], str]] = {
    "mailserver.8": lambda: command_page(cli),
    "mailserver.toml.5": configuration_page,
}
FOLDER = ROOT / "etc" / "man"


@pytest.mark.parametrize("name", PAGES)
def test_the_files_are_what_the_program_prints(name: str) -> None:
    same = (FOLDER / name).read_text() == PAGES[name]()
    assert same, "run: python -m mailserver.cli.pages etc/man"


def test_the_program_writes_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mailserver.cli.pages", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: page() for name, page in PAGES.items()
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mailserver.8", ["mailserver queue hold [ID]...", "--domain TEXT", "-n", "/etc/mailserver"]),
        ("mailserver.toml.5", ["[[listen]]", "max_message_size", "52428800", 'endpoint = "tcp6:25"']),
    ],
)
def test_man_shows_them(name: str, words: list[str]) -> None:
    command = [need("man"), "--warnings", "-E", "ascii", "-l", str(FOLDER / name)]
    env = {**os.environ, "MANWIDTH": "200", "MANPAGER": "cat", "MANOPT": "--nj", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(word in done.stdout for word in words), done.stdout


def test_mandoc_finds_nothing_wrong() -> None:
    command = [need("mandoc"), "-T", "lint", *(str(FOLDER / name) for name in PAGES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert not found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("One. Two\n  words.", ["One.", "Two words."]),
        (".start 'and' \\end", ["\\&.start 'and' \\eend"]),
        ("'quoted'", ["\\&'quoted'"]),
        ("`mailserver -n` and…", ["\\fBmailserver \\-n\\fR and..."]),
        ("x" * 70 + " .request " + "y" * 70, ["x" * 70, "\\&.request", "y" * 70]),
    ],
)
def test_text(text: str, lines: list[str]) -> None:
    assert roff.paragraphs(text).splitlines() == lines


def test_bash_completes() -> None:
    program = Path(sys.executable).with_name("mailserver")
    if not program.exists():
        missing("the command is where the project is installed: pip install -e '.[test]'")
    script = f"""
    PATH={program.parent}:$PATH
    . {ROOT}/etc/completion/mailserver.bash
    complete -p mailserver
    COMP_WORDS=(mailserver queue re); COMP_CWORD=2
    _mailserver_completion mailserver
    echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "release remove retry"
