"""A mail server under test, with its own folder; and this project's server as one."""

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from . import processes
from .errors import BenchError

Address = tuple[str, int]

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
DOMAIN = "example.org"
PASSWORD = "correct-horse"
START_SECONDS = 30.0
TWISTD = "from twisted.scripts.twistd import run; run()"  # a checkout has no program of that name


class Server(ABC):
    """A server with a mailbox for each of ``users`` (local parts), with all its files in ``folder``."""

    name: ClassVar[str]
    title: ClassVar[str]
    usual: ClassVar[bool] = True  # measured also where nobody asks for it by name

    def __init__(self, folder: Path, users: Sequence[str]) -> None:
        self.folder = folder
        self.users = users
        self.smtp: Address = (HOST, 0)
        self.pop3: Address = (HOST, 0)
        self.sent: dict[str, int] = {}  # messages that must be in the mailboxes
        self.running: list[subprocess.Popen[bytes]] = []

    @classmethod
    def obstacle(cls) -> str | None:
        """The reason why it cannot run here, or None."""
        return None

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The programs and their versions."""

    @abstractmethod
    def start(self) -> None:
        """Start the server and wait until it is ready. Raises BenchError."""

    @abstractmethod
    def maildir(self, user: str) -> Path:
        """The folder with ``new`` and ``cur`` of this mailbox."""

    def asked_to_end(self, process: subprocess.Popen[bytes]) -> int:
        """The process to send SIGTERM to."""
        return process.pid

    def stop(self) -> None:
        """Stop all processes of the server."""
        while self.running:
            process = self.running.pop()
            processes.end(process, self.asked_to_end(process))

    def restart(self) -> None:
        """Restart the server on the same files; its ports may change."""
        self.stop()
        self.start()

    def roots(self) -> list[int]:
        """The root processes of the server."""
        return [process.pid for process in self.running]

    def spawn(self, *command: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a process in its own session, with its output in ``output.log``."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILSERVER__")}
        with (self.folder / "output.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean,
                cwd=cwd or self.folder,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def wait_for_greetings(self) -> None:
        """Wait for both greetings. Raises BenchError if a process ends, or after START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        for address, greeting in ((self.smtp, b"220"), (self.pop3, b"+OK")):
            while not _greets(address, greeting):
                if time.monotonic() > deadline or any(one.poll() is not None for one in self.running):
                    raise self.failure()
                time.sleep(0.05)

    def failure(self) -> BenchError:
        """It did not start: the last line that it said."""
        said = (self.folder / "output.log").read_text(errors="replace").split("\n")
        last = next((line for line in reversed(said) if line.strip()), "it said nothing")
        return BenchError(f"{self.name} did not start: {last.strip()}")


def _greets(address: Address, greeting: bytes) -> bool:
    try:
        with socket.create_connection(address, timeout=5) as connection:
            greeted = connection.recv(512).startswith(greeting)
            connection.sendall(b"QUIT\r\n")
            connection.recv(512)
            return greeted
    except OSError:
        return False


class Mailserver(Server):
    """Ours, from this checkout, as it is without any setting for speed."""

    name = "mailserver"
    title = "mailserver"

    @classmethod
    def version(cls) -> str:
        python = ".".join(map(str, sys.version_info[:3]))
        return f"mailserver on Twisted {importlib.metadata.version('twisted')}, Python {python}"

    def start(self) -> None:
        (self.folder / "mailserver.toml").write_text(self.configuration())
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        options = ["--config", str(self.folder / "mailserver.toml"), "--ready-file", str(ready)]
        process = self.spawn(
            sys.executable, "-c", TWISTD, "-n", "--pidfile=", "mailserver", *options, cwd=ROOT
        )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise self.failure()
            time.sleep(0.02)
        self.listeners = json.loads(ready.read_bytes())["listeners"]
        self.smtp, self.pop3 = self.port("smtp"), self.port("pop3")
        self.wait_for_greetings()

    def port(self, protocol: str, tls: str = "none") -> Address:
        """The address of the port for this protocol with this kind of TLS."""
        found = (one["port"] for one in self.listeners if (one["protocol"], one["tls"]) == (protocol, tls))
        return HOST, next(found)

    def configuration(self) -> str:
        lines = [
            f'hostname = "mail.{DOMAIN}"',
            f'domains = ["{DOMAIN}"]',
            'data = "data"',
            "allow_root = true",
        ]
        for protocol in ("smtp", "pop3"):
            lines += ["[[listen]]", f'protocol = "{protocol}"', f'endpoint = "tcp:0:interface={HOST}"']
        lines += ["[pop3]", 'plaintext_auth = "loopback"']
        for user in self.users:
            lines += ["[[account]]", f'address = "{user}@{DOMAIN}"', f'password = "{self.password()}"']
        return "\n".join([*lines, ""])

    @classmethod
    def password(cls) -> str:
        """The password of all accounts, as the configuration has it."""
        return PASSWORD

    def maildir(self, user: str) -> Path:
        return self.folder / "data" / "mail" / DOMAIN / user


class HashedMailserver(Mailserver):
    """Ours, with passwords that are hashed as ``mailserver passwd`` does it."""

    name = "mailserver-argon2"
    title = "mailserver, passwords hashed"
    usual = False

    @classmethod
    @cache
    def password(cls) -> str:
        command = [sys.executable, "-c", "from mailserver.cli.main import main; main()", "passwd"]
        done = subprocess.run(command, cwd=ROOT, input=PASSWORD, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"mailserver passwd: {done.stderr.strip()}")
        return done.stdout.strip()
