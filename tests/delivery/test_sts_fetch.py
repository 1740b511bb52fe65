"""Policies over real HTTPS: a server on loopback answers with any octets, and may have any certificate."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.protocols import tls
from twisted.python.failure import Failure

from mailserver.delivery.tls_policy import sts_fetch
from mailserver.delivery.tls_policy.sts_fetch import MOST_OCTETS, PolicyHosts, PolicyUnavailable
from mailserver.errors import DNSFailure
from tests.support.resolvers import FakeResolver
from tests.support.tls_material import Authority, Issued, make_ca

HOST = "mta-sts.example.org"
POLICY = b"version: STSv1\nmode: none\nmax_age: 1\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"


def response(body: bytes = POLICY, head: bytes = OK) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Server:
    """Answers each connection with ``answer``; None means nothing at all. ``requests`` has what came."""

    def __init__(self, issued: Issued) -> None:
        self.answer: bytes | None = b""
        self.endless = b""
        self.requests: list[bytes] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(issued.certificate, issued.private_key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            with plain, contextlib.suppress(OSError):
                plain.settimeout(20)
                with self._context.wrap_socket(plain, server_side=True) as connection:
                    self._serve(connection)

    def _serve(self, connection: ssl.SSLSocket) -> None:
        self.requests.append(connection.recv(65536))
        if self.answer is None:
            connection.recv(1)  # until the client hangs up
            return
        connection.sendall(self.answer)
        while self.endless:
            connection.sendall(self.endless)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def serve(authority: Authority) -> Iterator[Callable[..., Server]]:
    with contextlib.ExitStack() as servers:

        def begin(issued: Issued | None = None) -> Server:
            server = Server(issued or authority.issue(HOST))
            servers.callback(server.close)
            return server

        yield begin


@pytest.fixture
def fetch(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Fetch once, on a reactor of its own. Raises PolicyUnavailable."""

    def run(server: Server, records=None, **options) -> bytes:
        reactor, results = SelectReactor(), list[Any]()
        monkeypatch.setattr(tls, "_get_default_clock", lambda: reactor)
        resolver = FakeResolver(records or {(HOST, "A"): ["127.0.0.1"]}, reactor)
        trust = trustRootFromCertificates([Certificate.loadPEM(authority.path.read_bytes())])
        hosts = PolicyHosts(
            reactor, resolver, **{"port": server.port, "trust": trust, "allow_private": True, **options}
        )

        def done(result: object) -> None:
            results.append(result)
            reactor.callLater(0, reactor.stop)

        def begin() -> None:
            fetching: Deferred[Any] = hosts.fetch("example.org")
            fetching.addBoth(done)

        reactor.callWhenRunning(begin)
        reactor.run(installSignalHandlers=False)
        assert not reactor.getDelayedCalls()
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    return run


def test_the_request(serve, fetch):
    server = serve()
    server.answer = response()
    assert fetch(server) == POLICY
    (request,) = server.requests
    line, *fields = request.split(b"\r\n")
    assert line == b"GET /.well-known/mta-sts.txt HTTP/1.1"
    assert b"Host: mta-sts.example.org" in fields


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(head=OK.replace(b"text/plain; charset=utf-8", b"Text/Plain")), POLICY),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nver\r\n0\r\n\r\n", b"ver"),
        (response(b"x" * MOST_OCTETS), b"x" * MOST_OCTETS),
        (response(b"x" * (MOST_OCTETS + 1)), "more than 65536 octets"),
        (response(head=OK.replace(b"200 OK", b"404 Not Found")), "status 404"),
        (response(head=OK.replace(b"200 OK", b"301 Moved\r\nLocation: https://127.0.0.1/")), "status 301"),
        (response(head=OK.replace(b"200 OK", b"204 No Content")), "status 204"),
        (response(head=OK.replace(b"text/plain", b"text/html")), "type 'text/html"),
        (response(head=b"HTTP/1.1 200 OK\r\n"), "type ''"),
        (OK + b"\r\n" + POLICY, "."),  # its end could be cut off
        (response().replace(b"Content-Length: ", b"Content-Length: 1"), "."),
        (b"", "."),
        (b"garbage\r\n\r\n", "."),
    ],
    ids=range(13),
)
def test_responses(serve, fetch, answer: bytes, expected: bytes | str) -> None:
    server = serve()
    server.answer = answer
    if isinstance(expected, bytes):
        assert fetch(server) == expected
    else:
        with pytest.raises(PolicyUnavailable, match=expected):
            fetch(server)


@pytest.mark.parametrize("piece", [b"X: y\r\n" * 1000, b"X-" + b"y" * 9999, b"\r\n\r\n" + b"x" * 9999])
def test_endless_responses(serve, fetch, piece: bytes) -> None:
    server = serve()
    server.answer, server.endless = OK, piece
    with pytest.raises(PolicyUnavailable):
        fetch(server)


def test_silence(serve, fetch, monkeypatch):
    monkeypatch.setattr(sts_fetch, "TIMEOUT", 0.2)
    server = serve()
    server.answer = None
    with pytest.raises(PolicyUnavailable, match="no answer within"):
        fetch(server)


def test_certificates(serve, fetch, authority, tmp_path):
    for issued in (
        authority.issue("example.org"),
        authority.issue("*.mta-sts.example.org"),
        authority.issue(HOST, ends=timedelta(days=-0.5)),
        make_ca(tmp_path).issue(HOST),
    ):
        server = serve(issued)
        server.answer = response()
        with pytest.raises(PolicyUnavailable):
            fetch(server)
        assert server.requests in ([], [b""])
    server = serve(authority.issue("*.example.org"))
    server.answer = response()
    assert fetch(server) == POLICY


def test_addresses(serve, fetch):
    server = serve()
    server.answer = response()
    assert fetch(server, {(HOST, "A"): ["127.0.0.2", "127.0.0.1"]}) == POLICY
    assert fetch(server, {(HOST, "A"): DNSFailure("x"), (HOST, "AAAA"): ["::ffff:127.0.0.1"]}) == POLICY
    for records in ({}, {(HOST, "A"): ["127.0.0.2"]}, {(HOST, "A"): ["127.0.0.2"] * 4 + ["127.0.0.1"]}):
        with pytest.raises(PolicyUnavailable):
            fetch(server, records or {("x", "A"): []})
    with pytest.raises(PolicyUnavailable, match="the reason"):
        fetch(server, {(HOST, "A"): DNSFailure("x"), (HOST, "AAAA"): DNSFailure("the reason")})
    with pytest.raises(PolicyUnavailable, match="no usable address"):
        fetch(server, allow_private=False)
    assert len(server.requests) == 2
