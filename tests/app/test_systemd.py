"""Notifications to systemd, with a real socket and a clock."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from mailserver.app.systemd import LONGEST_STATUS, SystemdNotifier
from mailserver.events.server import SystemdNotNotified
from tests.support.fakes import stand_in
from tests.support.systemd import NotifySocket


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    listening = NotifySocket(tmp_path / "notify" if request.param == "file" else None)
    assert listening.address[0] == {"file": "/", "abstract": "@"}[request.param]
    yield listening
    listening.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def notifier(clock: Clock, environ: dict[str, str]) -> SystemdNotifier:
    return SystemdNotifier.from_environment(stand_in(clock), environ)


def test_the_life_of_a_server(systemd: NotifySocket, clock: Clock) -> None:
    server = notifier(clock, {"NOTIFY_SOCKET": systemd.address})
    server.ready("serving pop3 on 127.0.0.1 port 110")
    assert systemd.next() == {"READY": "1", "STATUS": "serving pop3 on 127.0.0.1 port 110"}
    before = time.monotonic_ns() // 1000
    server.reloading()
    reloading = systemd.next()
    assert reloading.pop("RELOADING") == "1"
    assert before <= int(reloading.pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
    assert not reloading
    server.reloaded("configuration\nrefused" + "d" * LONGEST_STATUS)
    ended = systemd.next()
    assert ended["READY"] == "1"
    assert ended["STATUS"].startswith("configuration\\nrefused") and len(ended["STATUS"]) == LONGEST_STATUS
    server.stopping()
    assert systemd.next() == {"STOPPING": "1", "STATUS": "stopping"}
    server.close()
    assert systemd.is_empty()
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("names_us", [True, False])
def test_the_watchdog_hears_twice_in_its_time(systemd: NotifySocket, clock: Clock, names_us: bool) -> None:
    watched = {"WATCHDOG_USEC": "30000000"} | ({"WATCHDOG_PID": str(os.getpid())} if names_us else {})
    server = notifier(clock, {"NOTIFY_SOCKET": systemd.address, **watched})
    assert not clock.getDelayedCalls(), "systemd watches after READY=1"
    server.ready("")
    assert systemd.next()["READY"] == "1"
    clock.advance(14.9)
    assert systemd.is_empty()
    clock.advance(0.1)
    assert systemd.next() == {"WATCHDOG": "1"}
    server.stopping()
    systemd.next()
    clock.advance(15)
    assert systemd.next() == {"WATCHDOG": "1"}, "it may take a while to stop"
    server.close()
    assert not clock.getDelayedCalls()


def test_nothing_stays_in_the_environment(clock: Clock) -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    notifier(clock, environ).close()
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "1000"},
        {"WATCHDOG_USEC": "1000"},
    ],
)
def test_without_systemd_nothing_happens(clock: Clock, environ: dict[str, str]) -> None:
    server = notifier(clock, environ)
    with capturedLogs() as events:
        server.ready("")
        server.reloading()
        server.stopping()
        server.close()
    assert not events and not clock.getDelayedCalls()


@pytest.mark.parametrize("watched", [{"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_the_watchdog_of_another_process(
    systemd: NotifySocket, clock: Clock, watched: dict[str, str]
) -> None:
    server = notifier(clock, {"NOTIFY_SOCKET": systemd.address, **watched})
    server.ready("")
    assert not clock.getDelayedCalls()
    server.close()


def test_a_socket_that_is_gone_is_logged_once(clock: Clock, tmp_path: Path) -> None:
    server = notifier(clock, {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    with capturedLogs() as events:
        server.ready("")
        server.stopping()
    server.close()
    assert [event["log_event"] for event in events] == [SystemdNotNotified(error="No such file or directory")]
