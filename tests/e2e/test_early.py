"""The first moments of a process: a hangup at any time, and standard streams that are closed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import Makes, Server, configuration, launch_python, launch_twistd, wait_until
from tests.support.runs import rest_slow

both_launchers = pytest.mark.parametrize(
    "launch", rest_slow([launch_twistd, launch_python]), ids=["twistd", "python-m"]
)


def hangs_up(server: Server) -> bool:
    """Whether SIGHUP would call a handler: bit 0 of SigCgt (proc_pid_status(5))."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) & 1)


def serves(server: Server) -> None:
    server.start_spawned()
    with Smtp(server.smtp) as session:
        session.expect(b"QUIT", b"221")


@both_launchers
def test_hangups_from_the_first_moment(make_server: Makes, launch: Callable[..., list[str]]) -> None:
    """They are sent all the time from the first handler on, while imports and the start take their time."""
    server = make_server(launch=launch)
    server.spawn()
    wait_until(lambda: hangs_up(server), "a handler")
    assert "ready" not in server.log
    sent = 0
    while not server.ready.exists() and server.process is not None and server.process.poll() is None:
        server.signal(signal.SIGHUP)
        sent += 1
        time.sleep(0.001)
    assert sent > 10
    serves(server)
    wait_until(lambda: "configuration reloaded" in server.log, "the reload")


def test_a_hangup_during_the_start(make_server: Makes) -> None:
    """What was written before it is in force: the hangup means a reload once the server is ready."""
    server = make_server(launch=launch_python)
    new = server.config.with_name("new.toml")
    alias = '[[alias]]\naddress = "new"\nto = ["alice"]\n[[account]]'
    new.write_text(server.config.read_text().replace("[[account]]", alias, 1))
    server.spawn()
    wait_until(lambda: hangs_up(server), "a handler")
    new.replace(server.config)
    server.signal(signal.SIGHUP)
    serves(server)
    wait_until(lambda: "configuration reloaded" in server.log, "the reload")
    with Smtp(server.smtp) as session:
        session.begin("bob@example.com", "new@example.org")


def test_a_hangup_at_the_end(make_server: Makes) -> None:
    server = make_server(configuration(top='allow_root = true\nstop_grace = "3s"')).start()
    with Smtp(server.smtp) as busy:
        busy.begin("bob@example.com", "alice@example.org")
        server.signal(signal.SIGTERM)
        for _ in range(20):
            server.signal(signal.SIGHUP)
            time.sleep(0.01)
        busy.send(b"Subject: late\r\n\r\n.\r\n")
        assert busy.line().startswith(b"250 ")
        assert server.wait() == -signal.SIGTERM


# The server sends itself the signal when it has reported that it is ready, before the reactor runs.
STOPPED = """
import os, runpy, signal, sys
from mailserver.app import process
process.freeze_start = lambda: os.kill(os.getpid(), signal.{name})
sys.argv[0] = "twist"
runpy.run_module("twisted", run_name="__main__")
"""


@pytest.mark.parametrize("number", rest_slow([signal.SIGTERM, signal.SIGINT]))
def test_a_stop_before_the_reactor_runs(make_server: Makes, number: signal.Signals) -> None:
    def launch(*options: str) -> list[str]:
        return [sys.executable, "-c", STOPPED.format(name=number.name), *launch_python(*options)[3:]]

    server = make_server(launch=launch)
    server.spawn()
    assert server.wait() == -number
    assert server.ready.exists()
    assert f"Received {number.name}, shutting down." in server.log
    server.check_log()


# ---------------------------------------------------------------- closed streams


def closing(*options: str, streams: str, launch: Callable[..., list[str]] = launch_twistd) -> list[str]:
    return ["/bin/sh", "-c", f'exec "$@" {streams}', "sh", *launch(*options)]


CLOSED = ["<&- >&- 2>&-", "2>&-", "<&-", ">&- 2>&-", ">&-"]


@pytest.mark.parametrize("streams", rest_slow(CLOSED))
def test_closed_streams(streams: str, make_server: Makes) -> None:
    server = make_server(launch=partial(closing, streams=streams)).start()
    with Smtp(server.smtp) as session:
        session.expect(b"QUIT", b"221")
    links = {number: str(Path(f"/proc/{server.pid}/fd/{number}").readlink()) for number in range(3)}
    for number, stream in enumerate(("<&-", " >&-", "2>&-")):
        if stream in f" {streams}":
            assert links[number] == "/dev/null", links
    if ">&-" not in streams.split():
        assert "ready: " in server.log


@pytest.mark.parametrize("streams", rest_slow(reversed(CLOSED)))
def test_closed_streams_and_a_start_that_fails(streams: str, make_server: Makes) -> None:
    server = make_server("hostname = 7\n", launch=partial(closing, streams=streams))
    done = subprocess.run(server.command(), **server.surroundings(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == (0 if "2>&-" in streams else 1)
