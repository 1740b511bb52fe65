"""The HTTP of monitoring: paths, methods, bodies, limits, the end of connections."""

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from mailserver.events.base import observe, stop_observing
from mailserver.events.server import ScrapeFailed
from mailserver.http.channel import IDLE
from mailserver.metrics.http import MOST, MonitoringPages, monitoring_listening
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor

PEER = IPv4Address("TCP", "127.0.0.1", 1)


class Transport(StringTransport):
    """Remembers whether the connection was aborted."""

    aborted = False

    def abortConnection(self):
        self.aborted = True

    secured: object = None

    def startTLS(self, context):
        self.secured = context

    def setTcpNoDelay(self, enabled):
        """There is no network."""


class Pages:
    """A server that is ready or not, and what it was asked for."""

    def __init__(self) -> None:
        self.reason = ""
        self.asked: list[bool] = []
        self.reactor = FakeReactor()
        pages = MonitoringPages(self._scrape, self._problem)
        self.factory = monitoring_listening(pages, stand_in(self.reactor), None)

    async def _scrape(self, mailboxes: bool) -> bytes:
        self.asked.append(mailboxes)
        if self.reason == "bug":
            raise ZeroDivisionError
        return b"up 1\n"

    async def _problem(self) -> str:
        return self.reason

    def connect(self) -> tuple[Any, Transport]:
        transport = Transport()
        protocol: Any = self.factory.buildProtocol(PEER)
        if protocol is not None:
            protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, request: str) -> tuple[int, dict[str, str], bytes]:
        protocol, transport = self.connect()
        protocol.dataReceived(request.encode())
        return answer(transport)


def answer(transport) -> tuple[int, dict[str, str], bytes]:
    head, _, body = transport.value().partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    return int(first.split()[1]), dict(field.split(": ", 1) for field in fields), body


@pytest.fixture
def pages():
    return Pages()


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /metrics", 200, b"up 1\n"),
        ("GET /metrics?mailboxes=1", 200, b"up 1\n"),
        ("GET /healthz", 200, b"ok\n"),
        ("GET /readyz", 200, b"ready\n"),
        ("HEAD /metrics", 200, b""),
        ("HEAD /readyz", 200, b""),
        ("GET /", 404, b"not found; try /metrics, /healthz or /readyz\n"),
        ("GET /metrics/", 404, b"not found; try /metrics, /healthz or /readyz\n"),
        ("GET /Metrics", 404, b"not found; try /metrics, /healthz or /readyz\n"),
        ("PUT /metrics", 405, b"method not allowed; allowed: GET, HEAD\n"),
        ("DELETE /healthz", 405, b"method not allowed; allowed: GET, HEAD\n"),
        ("OPTIONS /readyz", 405, b"method not allowed; allowed: GET, HEAD\n"),
    ],
)
def test_answers(pages, request_line, status, body):
    got = pages.ask(f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (got[0], got[2]) == (status, body)
    assert got[1].get("Allow") == ("GET, HEAD" if status == 405 else None)
    assert ("Server" in got[1], got[1]["Cache-Control"]) == (False, "no-store")
    if body:
        assert got[1]["Content-Length"] == str(len(body))
    assert pages.asked == ([] if "metrics" not in request_line or status != 200 else ["?" in request_line])


def test_a_server_that_is_not_ready(pages):
    pages.reason = "the disk is full"
    assert pages.ask("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")[::2] == (
        503,
        b"not ready: the disk is full\n",
    )
    assert pages.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200


def test_a_connection_serves_many_requests(pages):
    protocol, transport = pages.connect()
    for _ in range(3):
        transport.clear()
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(transport)[0] == 200
    assert not transport.disconnecting
    protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert transport.disconnecting


def test_bodies_are_rejected(pages):
    got = pages.ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    assert got[0] == 413
    assert pages.ask("POST /metrics HTTP/1.0\r\n\r\n")[0] == 405


def test_each_connection_has_the_certificate_in_force(pages):
    contexts = []

    def tls():
        contexts.append(object())
        return contexts[-1]

    monitoring = MonitoringPages(pages._scrape, pages._problem)
    factory = monitoring_listening(monitoring, stand_in(pages.reactor), tls)
    assert not contexts, "the certificate may be made later, at the start"
    for count in (1, 2):
        protocol: Any = factory.buildProtocol(PEER)
        transport = Transport()
        protocol.makeConnection(transport)
        assert len(contexts) == count and transport.secured is contexts[-1]


def test_what_is_not_http_is_rejected(pages):
    assert pages.ask("EHLO client\r\n\r\n")[0] == 400


def test_a_bug_is_an_event(pages):
    pages.reason = "bug"
    events: list[Any] = []
    observer = stand_in(events.append)
    observe(observer)
    try:
        got = pages.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    finally:
        stop_observing(observer)
    assert got[::2] == (500, b"internal error; see the log of the server\n")
    assert [one["log_event"] for one in events] == [ScrapeFailed(path="/metrics")]
    assert events[0]["log_failure"].check(ZeroDivisionError)


def test_connections_are_limited(pages):
    opened = [pages.connect() for _ in range(MOST)]
    assert pages.connect()[0] is None
    opened[0][0].connectionLost(None)
    assert pages.connect()[0] is not None


def test_idle_connections_are_closed(pages):
    _, transport = pages.connect()
    pages.reactor.advance(IDLE - 1)
    assert not transport.disconnecting
    pages.reactor.advance(2)
    assert transport.disconnecting


def test_a_stop_waits_for_the_last_connection(pages):
    done: list[object] = []
    first, second = pages.connect(), pages.connect()
    pages.factory.stop(5.0).addCallback(done.append)
    assert first[1].disconnecting and second[1].disconnecting and pages.connect()[0] is None
    first[0].connectionLost(None)
    assert not done
    pages.reactor.advance(1)
    assert second[1].aborted
    second[0].connectionLost(None)
    assert done == [None]
    assert not [call for call in pages.reactor.getDelayedCalls() if call.active()]
