"""Monitoring in a whole server: what a scrape says of its parts, and when the server is ready."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from mailserver.app import monitoring
from mailserver.app.build import make_service
from mailserver.app.monitoring import COUNTED_FOR, SHARE, QueueCounter
from mailserver.app.service import MailService
from mailserver.events.base import report
from mailserver.events.connections import TLSFailed
from mailserver.metrics.state import DiskRoom
from mailserver.queue.entries import QueueCounts
from tests.support.e2e.server import BOTH, UNCHECKED, configuration
from tests.support.fakes import stand_in
from tests.support.model_clients import Reactor, Reader, Sender

METRICS = 2  # the number of the listener
LISTEN = (*BOTH, ("metrics", "tcp:9725"))
Samples = dict[tuple[str, ...], float]


class Monitor:
    """Asks the listener for metrics, each time on a new connection."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def get(self, path: str) -> tuple[int, str]:
        _, factory, _, interface = self._reactor.tcpServers[METRICS]
        assert interface == "127.0.0.1", "without an interface in the configuration, on loopback"
        transport = StringTransport()
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        self._reactor.pump_until(lambda: transport.disconnecting)
        protocol.connectionLost(None)
        head, _, body = transport.value().decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def scrape(self, path: str = "/metrics") -> Samples:
        """The samples by name, without the prefix, and by values of labels in the order of their names."""
        status, text = self.get(path)
        assert status == 200
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return {
            (
                one.name.removeprefix("mailserver_"),
                *(one.labels[name] for name in sorted(one.labels)),
            ): one.value
            for one in samples
        }


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.stop()


@pytest.fixture
def service(reactor: Reactor, tmp_path: Path) -> Iterator[MailService]:
    path = tmp_path / "mailserver.toml"
    path.write_text(configuration(listen=LISTEN, tables=UNCHECKED))
    service = make_service(stand_in(reactor), path)
    service.startService()
    yield service
    if service.running:
        reactor.wait(service.stopService())


def test_a_scrape_knows_what_has_happened(reactor: Reactor, service: MailService) -> None:
    monitor = Monitor(reactor)
    before = monitor.scrape()
    assert before["sessions", "smtp", "none"] == before["storage_commit_seconds_count",] == 0
    sender = Sender(reactor)
    sender.begin(b"Subject: 1\r\n\r\n")
    assert sender.ask(b".").startswith(b"250 ")
    sender.ask(b"MAIL FROM:<sender@client.example>")
    assert sender.ask(b"RCPT TO:<nobody@example.org>").startswith(b"550")
    reader = Reader(reactor)
    assert reader.log_in().startswith(b"+OK")
    report(TLSFailed(client="192.0.2.1", session="s", reason="x", rule="tls"))
    found = monitor.scrape("/metrics?mailboxes=1")
    expected: Samples = {
        ("ready",): 1,
        ("sessions", "smtp", "none"): 1,
        ("sessions", "pop3", "none"): 1,
        ("sessions_total", "smtp", "none"): 1,
        ("messages_received_total",): 1,
        ("mailbox_deliveries_total",): 2,
        ("commands_rejected_total", "routing"): 1,
        ("logins_total", "USER", "succeeded", "pop3"): 1,
        ("events_total", "MaildropOpened"): 1,
        ("tls_failures_total",): 1,
        ("mailbox_messages", "alice@example.org"): 1,
        ("mailbox_messages", "carol@example.org"): 0,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["mailbox_bytes", "alice@example.org"] > 100
    assert found["storage_commit_seconds_count",] >= 1
    for client in (sender, reader):
        client.lose()
    after = monitor.scrape()
    assert (after["sessions", "smtp", "none"], after["sessions_total", "smtp", "none"]) == (0, 1)
    assert not [name for name, *_ in after if name.startswith("mailbox_messages")]


def test_a_reload_keeps_the_listener_and_its_counts(reactor: Reactor, service: MailService) -> None:
    monitor = Monitor(reactor)
    Sender(reactor).lose()
    reactor.wait(service.reload())
    found = monitor.scrape()
    assert found["events_total", "ConfigurationReloaded"] == found["sessions_total", "smtp", "none"] == 1
    assert found["events_total", "ServerReady"] == 1


@pytest.mark.parametrize(
    ("room", "reason"),
    [
        (lambda *arguments: DiskRoom(11, 99, 10), ""),
        (lambda *arguments: DiskRoom(10, 99, 10), "the disk is full, except for storage.reserve"),
        (lambda *arguments: DiskRoom(0, 99, 0), ""),  # nobody wants a reserve
        ("unreadable", "the data directory is unreadable"),
    ],
)
def test_whether_the_disk_has_room(
    reactor: Reactor, service: MailService, monkeypatch: pytest.MonkeyPatch, room: Any, reason: str
) -> None:
    def unreadable(*arguments: object) -> DiskRoom:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(monitoring, "disk_room", unreadable if room == "unreadable" else room)
    monitor = Monitor(reactor)
    assert monitor.get("/readyz") == ((503, f"not ready: {reason}\n") if reason else (200, "ready\n"))
    assert monitor.get("/healthz") == (200, "ok\n")
    assert monitor.scrape()["ready",] == (not reason)


def test_a_server_that_stops_is_not_ready_until_its_sessions_have_ended(
    reactor: Reactor, service: MailService
) -> None:
    monitor, sender = Monitor(reactor), Sender(reactor)
    sender.begin(b"Subject: 1\r\n\r\n")
    stopped: list[object] = []
    service.stopService().addCallback(stopped.append)
    assert monitor.get("/readyz") == (503, "not ready: the server stops\n")
    assert sender.ask(b".").startswith(b"250 ")
    reactor.pump_until(lambda: sender.wire.disconnecting)
    sender.lose()
    reactor.pump_until(lambda: stopped)


def test_a_server_without_the_listener_observes_nothing(reactor: Reactor, tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    path.write_text(configuration(tables=UNCHECKED))
    service = make_service(stand_in(reactor), path)
    service.startService()
    report(TLSFailed(client="192.0.2.1", session="s", reason="x", rule="tls"))
    counted = service._parts.monitoring._counts.sums()
    assert not any(counted.values())
    reactor.wait(service.stopService())


class SlowView:
    """Counts take some seconds, as those of a long queue do."""

    def __init__(self) -> None:
        self.seconds = self.cost = 0.0
        self.asked = 0

    @property
    def view(self) -> "SlowView":
        return self

    def counts(self, now: float) -> QueueCounts:
        self.asked += 1
        self.seconds += self.cost
        return QueueCounts(self.asked, 0, 0, now - 60.0)


@pytest.mark.parametrize(("cost", "rest"), [(0.0, COUNTED_FOR), (2.0, 2.0 * SHARE)])
def test_a_queue_is_not_counted_at_each_scrape(cost: float, rest: float) -> None:
    view = SlowView()
    view.cost = cost
    counter = QueueCounter(stand_in(view), now=lambda: 1e9, seconds=lambda: view.seconds)
    for _ in range(2):
        assert (counter.state().recipients["due"], counter.state().oldest) == (1, 60.0)
    view.seconds += rest - 0.1
    assert counter.state().recipients["due"] == 1
    view.seconds += 0.2
    assert counter.state().recipients["due"] == 2
