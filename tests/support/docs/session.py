"""Sessions of a page: commands for root in a shell with what they print, run on a stage of its own."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.support.e2e.commands import COMMAND, mailserver
from tests.support.e2e.programs import SEARCH
from tests.support.e2e.server import ROOT, Server

_SESSION = re.compile(r"^```text\n(\$ .*?)^```$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", re.MULTILINE)
TYPED = "wonderland"
ELSEWHERE = ("/etc/dovecot", "/etc/postfix", "/var/vmail")


@attrs.frozen
class Step:
    """A command, and what it prints; "…" stands for anything."""

    command: str
    printed: list[str]

    def is_printed(self, lines: list[str]) -> bool:
        patterns = [re.escape(line).replace("…", ".+") for line in self.printed]
        return len(patterns) == len(lines) and all(map(re.fullmatch, patterns, lines))


def steps(page: Path) -> Iterator[Step]:
    for session in _SESSION.findall(page.read_text()):
        for command, printed in _STEP.findall(session):
            yield Step(command.replace("\n> ", "\n").strip(), printed.splitlines())


class Stage:
    """The machine of the page, in a folder: its files are below, and it has one user.

    Dovecot and Postfix are there with their tools, but need not run.
    """

    def __init__(self, server: Server, folder: Path, *more: str) -> None:
        """``more`` are other folders that the page names."""
        self.server = server
        self.folder = folder
        ours = f"{os.getuid()}:{os.getgid()}"
        self.preamble = f"""
        cd {shlex.quote(str(folder))}
        mailserver() {{ {shlex.join(COMMAND)} "$@" --config {server.config}; }}
        chown() {{ command chown "${{@/mailserver:mailserver/{ours}}}"; }}
        doveconf() {{ command doveconf -c {folder}/etc/dovecot/dovecot.conf "$@"; }}
        postconf() {{ command postconf -c {folder}/etc/postfix "$@"; }}
        postmap() {{ command postmap -c {folder}/etc/postfix "$@"; }}
        """
        self.places = {
            "/etc/mailserver": server.directory,
            "/var/lib/mailserver": server.data,
            **{name: folder / name[1:] for name in (*ELSEWHERE, *more)},
        }

    def run(self, step: Step) -> None:
        program, *words = shlex.split(step.command)
        if program == "systemctl":
            self.systemctl(*words)
            return
        if program == "mailserver" and "$" not in step.command:
            status, out, err = mailserver(self.server, *map(self.here, words), given=f"{TYPED}\n")
        else:
            status, out, err = self.shell(self.here(step.command))
        said = f"{step.command}\n{status}\n{out}\n{err}"
        assert step.is_printed(list(map(self.there, out))), said
        # what is refused is told, and so it must be on the page
        assert status == any(" not imported" in line for line in step.printed), said
        assert not err, said

    def shell(self, command: str) -> tuple[int, list[str], list[str]]:
        script = f"set -uo pipefail\n{self.preamble}\n{command}"
        environment = {**os.environ, "PATH": SEARCH, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "-c", script],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    def here(self, text: str) -> str:
        """With the paths of the page as they are in the folder."""
        for name, place in self.places.items():
            text = text.replace(name, str(place))
        return text

    def there(self, text: str) -> str:
        """The opposite."""
        for name, place in self.places.items():
            text = text.replace(str(place), name)
        return text

    def systemctl(self, verb: str, *names: str) -> None:
        assert set(names) <= {"mailserver", "dovecot", "postfix"}
        if "mailserver" in names:
            {"start": self.server.start, "stop": self.server.stop}[verb]()
