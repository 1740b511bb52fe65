"""``twistd mailserver`` without ``-n``: what the terminal shows, the exit status, and the pidfile."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from mailserver.durable.lock import DataLock
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import (
    BOTH,
    START_SECONDS,
    Makes,
    Server,
    configuration,
    launch_twistd,
    wait_until,
)
from tests.support.runs import rest_slow


def daemon(*options: str, twistd: tuple[str, ...] = ()) -> list[str]:
    """The command without ``-n``; the pidfile is in the current directory."""
    program, *words = launch_twistd(*options)
    return [program, "--pidfile=twistd.pid", *twistd, *words[words.index("mailserver") :]]


class Daemon:
    """One start in the background, of a server that a test has configured."""

    def __init__(self, server: Server, *twistd: str) -> None:
        self.server = server
        server.launch = partial(daemon, twistd=twistd)
        self.pidfile = server.directory / "twistd.pid"

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.server.command(),
            **self.server.surroundings(),
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )

    def refused(self) -> str:
        """Start it, which must fail: the only line that it prints."""
        done = self.run()
        assert (done.returncode, done.stdout) == (1, ""), done
        assert not self.pidfile.exists()
        assert not self.server.ready.exists()
        (line,) = done.stderr.splitlines()
        return line


@pytest.fixture
def make_daemon(make_server: Makes) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons; those that a test leaves behind are killed."""
    made: list[Daemon] = []

    def make(config: str | None = None, *twistd: str) -> Daemon:
        made.append(Daemon(make_server(config), *twistd))
        return made[-1]

    yield make
    for one in made:
        if one.pidfile.exists():
            os.kill(int(one.pidfile.read_text()), signal.SIGKILL)


Fails = Callable[[Server, ExitStack], str]


def taken_port(server: Server, held: ExitStack) -> str:
    taken = held.enter_context(socket.create_server(("127.0.0.1", 0)))
    endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
    server.configure(configuration(listen=[BOTH[0], ("pop3", endpoint)]))
    return f'listen[2].endpoint: cannot listen on "{endpoint}": Address already in use'


def locked_data(server: Server, held: ExitStack) -> str:
    server.data.mkdir()
    held.enter_context(DataLock(server.data / "lock"))
    return f"is locked by another process (pid {os.getpid()})"


def file_in_the_way(server: Server, held: ExitStack) -> str:
    server.data.write_text("")
    return f"{server.data}"


def no_ready_file(server: Server, held: ExitStack) -> str:
    server.ready = server.directory / "missing" / "ready.json"
    return f"--ready-file {server.ready}: No such file or directory"


def long_name(server: Server, held: ExitStack) -> str:
    """A line longer than the 100 octets that twistd passes on, and not of ASCII alone."""
    path = "/nonexistent/" + "é" * 40
    server.configure(configuration(listen=[("smtp", f"unix:{path}")]))
    return f'cannot listen on "unix:{path}": No such file or directory'


@pytest.mark.parametrize(
    "fails",
    rest_slow([long_name, taken_port, locked_data, file_in_the_way, no_ready_file]),
    ids=lambda one: one.__name__,
)
def test_a_start_that_fails(fails: Fails, make_server: Makes, make_daemon: Callable[..., Daemon]) -> None:
    """The terminal shows what it shows with ``-n``."""
    one = make_daemon()
    with ExitStack() as held:
        expected = fails(one.server, held)
        line = one.refused()
        one.server.launch = launch_twistd
        assert ([line], True) == (one.server.refused()[0], expected in line)
    assert "Traceback" not in (one.server.directory / "twistd.log").read_text()


def test_a_failure_that_twistd_raises(make_daemon: Callable[..., Daemon]) -> None:
    path = "/nonexistent/twistd.pid"
    one = make_daemon(None, f"--pidfile={path}")
    assert one.refused() == f"FileNotFoundError: [Errno 2] No such file or directory: '{path}'"


def test_a_start_that_succeeds(make_daemon: Callable[..., Daemon]) -> None:
    one = make_daemon()
    done = one.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    state = json.loads(one.server.ready.read_bytes())
    assert int(one.pidfile.read_text()) == state["pid"]
    one.server.listeners = state["listeners"]
    with Smtp(one.server.smtp) as session:
        session.expect(b"QUIT", b"221")
    os.kill(state["pid"], signal.SIGTERM)
    wait_until(lambda: not one.pidfile.exists(), "the end")


def test_in_the_foreground_no_pidfile_is_left(make_server: Makes) -> None:
    server = make_server(launch=partial(launch_twistd, twistd=("--pidfile=twistd.pid",)))
    server.ready = server.directory / "missing" / "ready.json"
    lines, _ = server.refused()
    assert len(lines) == 1
    assert not (server.directory / "twistd.pid").exists()
