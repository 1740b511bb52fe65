"""A mail server of somebody else, as an ordinary process in its own folder, on a free port of 127.0.0.1.

Each delivers ``far.example`` to a Maildir in its folder, and sends everything else to us.
"""

import os
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.e2e.programs import SEARCH, missing
from tests.support.e2e.server import wait_until

HOST = "127.0.0.1"
FAR_DOMAIN = "far.example"
RING_DOMAIN = "ring.example"
BOX = "box"  # the Maildir
OWNER = 65534  # of the Maildir, as user and as group
UNPACKED = "REAL_SERVERS"
"""The environment variable that names a folder with programs that Debian does not let stand side by side:
``dpkg-deb -x`` of their packages."""
START_SECONDS = 30.0


def need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("other mail servers are started by root only")


def need_server(program: str, package: str) -> Path:
    """The path of a server's program, of the system or unpacked."""
    unpacked = os.environ.get(UNPACKED, "")
    places = [f"{unpacked}/usr/sbin", f"{unpacked}/usr/bin"] if unpacked else []
    path = shutil.which(program, path=os.pathsep.join([*places, SEARCH]))
    if path is None:
        missing(f"{program} is not installed (Debian package {package}, unpacked into ${UNPACKED})")
    return Path(path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class RealServer:
    """One server. Its ``port`` is known before it starts; ``us`` is our port for mail, to which it sends."""

    us = 0

    def __init__(self) -> None:
        need_root()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="mailserver-real-"))
        self.folder.chmod(0o755)  # it drops privileges
        self._process: subprocess.Popen[bytes] | None = None

    # Of each kind

    def command(self) -> list[str | Path]:
        """Write the configuration; the command that runs the server in the foreground."""
        raise NotImplementedError

    def main_process(self, process: "subprocess.Popen[bytes]") -> int:
        """The process to end."""
        return process.pid

    # Start, end

    def start(self, us: int) -> None:
        self.us = us
        command = self.command()
        with (self.folder / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(self._greets, f"the greeting of {command[0]}", START_SECONDS)
        except AssertionError:
            raise AssertionError(self.log) from None

    def _greets(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log
        try:
            with smtplib.SMTP(HOST, self.port, timeout=10) as client:
                return client.noop()[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    def stop(self) -> None:
        """End it with all its processes, and remove its folder."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                os.kill(self.main_process(process), signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """All that it has said."""
        found = [*self.folder.glob("*.log"), *self.folder.glob("log/*")]
        return "\n".join(path.read_text(errors="replace") for path in sorted(found))

    # Mail

    @property
    def mail(self) -> Path:
        """The folder of the Maildir."""
        folder = self.folder / "mail"
        if not folder.exists():
            folder.mkdir()
            os.chown(folder, OWNER, OWNER)
        return folder

    def messages(self) -> list[bytes]:
        """The messages for :data:`FAR_DOMAIN` in the order of their arrival, with LF line ends."""
        found = (self.mail / BOX).glob("new/*")
        return [path.read_bytes() for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def wait_for(self, count: int = 1, seconds: float = 20.0) -> list[bytes]:
        """Wait until so many messages have arrived."""
        try:
            wait_until(lambda: len(self.messages()) >= count, f"{count} messages", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None
        return self.messages()
