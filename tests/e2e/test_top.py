"""``mailserver top`` with a real server and a terminal."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import ROOT, Makes, Server, wait_until
from tests.support.e2e.workers import workers

CONTROL = re.compile(r"\x1b\[[?0-9]*[A-Za-z]")


class Terminal:
    """``mailserver top`` in a pseudo terminal of some size."""

    def __init__(self, server: Server, columns: int = 80, lines: int = 24) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, lines)
        self.settings = termios.tcgetattr(slave)
        self.slave = slave
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mailserver", "top", "--config", str(server.config)],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.set_blocking(self.master, False)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def frames(self) -> list[list[str]]:
        """The frames so far, without escape sequences."""
        try:
            while more := os.read(self.master, 1 << 16):
                self.output += more.decode()
        except BlockingIOError:
            pass
        *_, last = ["", *self.output.split("\x1b[?25l")]
        return [CONTROL.sub("", frame).split("\r\r\n") for frame in last.split("\x1b[H")[1:]]

    def wait_for(self, text: str) -> list[str]:
        """The first complete frame that has this text."""

        def found() -> list[str] | None:
            whole = self.frames()[:-1]
            return next((frame for frame in whole if any(text in line for line in frame)), None)

        frame: list[str] = wait_until(found, text)
        return frame

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def ended_well(self) -> None:
        """It has ended, and has left the terminal as it was."""
        assert self.process.wait(60) == 0
        self.frames()
        assert self.output.endswith("\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(self.slave) == self.settings


@pytest.fixture
def server(make_server: Makes) -> Iterator[Server]:
    yield make_server().start()


@pytest.mark.slow
def test_a_terminal(server: Server) -> None:
    terminal = Terminal(server)
    try:
        terminal.wait_for("state     ready")
        with Smtp(server.smtp) as smtp:
            smtp.ask(b"HELO x")
            terminal.wait_for("sessions  pop3 0, smtp 1 (1 without TLS)")
            smtp.ask(b"MAIL FROM:<>")
            smtp.ask(b"RCPT TO:<nobody@example.org>")
        terminal.wait_for("CommandRejected rejected <> to <nobody@example")
        terminal.resize(30, 8)
        narrow = terminal.wait_for("messages  ")
        narrow = wait_until(
            lambda: next((f for f in terminal.frames() if len(f) == 8), None), "a small frame"
        )
        assert all(len(line) <= 30 for line in narrow)
        terminal.resize(120, 24)
        server.stop()
        terminal.wait_for("no server runs on ")
        server.start()
        wait_until(lambda: "state     ready" in terminal.frames()[-2], "the server again")
        terminal.type(b"xq")
        terminal.ended_well()
    finally:
        terminal.close()


@pytest.mark.slow
def test_interrupted(server: Server) -> None:
    terminal = Terminal(server)
    try:
        terminal.wait_for("state     ready")
        os.kill(terminal.process.pid, signal.SIGINT)
        terminal.ended_well()
    finally:
        terminal.close()


@pytest.mark.slow
def test_scripts(server: Server) -> None:
    command = [sys.executable, "-m", "mailserver", "top", "--config", str(server.config)]
    once = subprocess.run([*command, "--once"], cwd=ROOT, capture_output=True, text=True)
    assert (once.returncode, once.stderr) == (0, "")
    assert "state     ready\n" in once.stdout and "\nsessions  pop3 0, smtp 0\n" in once.stdout
    shown = json.loads(subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True).stdout)
    assert (shown["hostname"], shown["problem"]) == ("mail.example.org", "")
    assert shown["pid"] == workers(server).get(1, server.pid)
    server.stop()
    gone = subprocess.run([*command, "--once"], cwd=ROOT, capture_output=True, text=True)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr == f"mailserver: no server runs on {server.data}\n"
