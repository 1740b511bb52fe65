"""The start of a server that cannot start, and a server in a process that was forked."""

import atexit
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from mailserver.errors import CannotStart
from mailserver.testing.server import MailServer
from tests.support.e2e.server import wait_until

DESCRIPTORS = Path("/proc/self/fd")


def test_a_server_that_runs_does_not_start_again() -> None:
    with MailServer() as server:
        ports = server.ports
        with pytest.raises(RuntimeError, match="runs already"):
            server.start()
        assert server.ports is ports
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.smtp.host, server.smtp.port))
    server.start()
    server.stop()


def test_a_server_that_cannot_bind_all_its_ports_binds_none() -> None:
    with MailServer() as first:  # its last port, so that the others are bound before
        before = len(list(DESCRIPTORS.iterdir()))
        second = MailServer(ports={"pop3s": first.pop3s.port})
        with pytest.raises(CannotStart, match="Address already in use"):
            second.start()
        wait_until(lambda: len(list(DESCRIPTORS.iterdir())) == before, "the end of its ports")
    second.start()
    second.stop()


def in_a_fork(check: Callable[[], object]) -> int:
    """The exit status of a child that calls a function and ends as a program does."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        check()
        status = 0
    except BaseException:  # noqa: BLE001 - the parent sees the status
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        os._exit(status)


def test_a_server_belongs_to_the_process_that_has_started_it() -> None:
    with MailServer() as server:
        file = server.ca_file

        def check() -> None:
            with MailServer() as own, socket.create_connection((own.smtp.host, own.smtp.port)):
                own.wait_for_session(closed=False)
            with pytest.raises(RuntimeError, match="after a fork"):
                server.reset()
            server.stop()

        assert in_a_fork(check) == 0
        with socket.create_connection((server.smtp.host, server.smtp.port)):
            server.wait_for_session(closed=False)
        assert file.exists()
