"""A server that systemd has started: what it tells systemd, from the start to the end."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.server import Server, configuration
from tests.support.systemd import NotifySocket


class Watched(Server):
    """A server with the environment that systemd gives it."""

    def __init__(self, directory: Path, systemd: NotifySocket) -> None:
        super().__init__(directory)
        self.systemd = systemd

    def surroundings(self) -> dict[str, Any]:
        around = super().surroundings()
        watched = {"NOTIFY_SOCKET": self.systemd.address, "WATCHDOG_USEC": "200000"}
        return {**around, "env": {**around["env"], **watched}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Watched]:
    systemd = NotifySocket()
    server = Watched(tmp_path, systemd)
    yield server
    server.finish()
    systemd.close()


def test_what_systemd_is_told(server: Watched) -> None:
    server.start()
    systemd = server.systemd
    started = systemd.next()
    assert started["READY"] == "1"
    assert started["STATUS"].startswith("serving smtp on 127.0.0.1 port "), started
    assert systemd.next() == {"WATCHDOG": "1"}

    server.signal(signal.SIGHUP)
    assert int(systemd.next_state()["MONOTONIC_USEC"]) > 0
    assert systemd.next_state() == {"READY": "1", "STATUS": "configuration reloaded"}

    server.configure(configuration(tables="[smtp]\nmax_recipient = 5\n"))
    status, _, [line] = mailserver(server, "reload")
    assert status == 1
    assert systemd.next_state()["RELOADING"] == "1"
    assert systemd.next_state() == {"READY": "1", "STATUS": line.removeprefix("mailserver: ")}
    assert "max_recipient" in line

    server.stop()
    assert systemd.next_state() == {"STOPPING": "1", "STATUS": "stopping"}
