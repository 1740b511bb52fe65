"""Rules and connections: TLS, clients that go away, servers that stop, rate limits."""

import contextlib
import os
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailserver.testing.rule_builder import RuleBuilder
from mailserver.testing.server import MailServer

DELAYS: dict[str, Callable[[RuleBuilder], RuleBuilder]] = {
    "delay": lambda rule: rule.delay("1h"),
    "drip": lambda rule: rule.drip(0.001),
    "hang": lambda rule: rule.hang(),
    "half-close": lambda rule: rule.half_close(),
}
PLACES = [
    pytest.param("smtp", "connect", b"", id="connect"),
    pytest.param("smtp", "tls", b"EHLO c\r\nSTARTTLS\r\n", id="tls"),
    pytest.param("smtps", "tls", b"", id="implicit tls"),
    pytest.param("smtp", "NOOP", b"NOOP\r\n", id="verb"),
    pytest.param("smtp", "dot", b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nBDAT 0 LAST\r\n", id="dot"),
    pytest.param("pop3", "removed", b"USER b@x.test\r\nPASS secret\r\nQUIT\r\n", id="removed"),
]
CASES = [
    pytest.param(*place.values, act, id=f"{place.id}, {act}")
    for place in PLACES
    for act in DELAYS
    if act != "drip" or place.id in ("verb", "dot", "removed")
]


@pytest.fixture
def server() -> Iterator[MailServer]:
    server = MailServer(seed=1).start()
    yield server
    server.stop()


def acting(server: MailServer, port: str, moment: str, sent: bytes, act: str) -> socket.socket:
    """A client while a rule acts."""
    rule = DELAYS[act](server.pop3.on(moment) if port == "pop3" else server.smtp.on(moment))
    where = server.ports[port]
    client = socket.create_connection((where.host, where.port), timeout=5)
    client.sendall(sent)
    server.clock.advance(0)
    assert rule.fired == 1
    return client


@contextlib.contextmanager
def begun(server: MailServer, port: str) -> Iterator[ssl.SSLSocket]:
    """A client of an implicit port with TLS, after the greeting."""
    where = server.ports[port]
    context = server.ssl_context()
    with (
        socket.create_connection((where.host, where.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as client,
    ):
        assert client.recv(1000)
        yield client


class TestAClientThatGoesAway:
    @pytest.mark.parametrize(("port", "moment", "sent", "act"), CASES)
    def test_its_session_ends(self, server, port, moment, sent, act):
        with acting(server, port, moment, sent, act):
            pass
        server.clock.advance("2h")
        assert server.wait_for_session().closed
        assert len(server.messages) == ((moment, act) == ("dot", "drip"))

    @pytest.mark.parametrize("act", ["hang", "half-close"])
    def test_at_once_where_nothing_more_is_read(self, server, act):
        with acting(server, "smtp", "NOOP", b"NOOP\r\n", act):
            pass
        assert server.wait_for_session().closed

    def test_it_sends_much_to_a_session_that_hangs(self, server):
        with acting(server, "smtp", "NOOP", b"NOOP\r\n", "hang") as client:
            for _ in range(100):
                client.sendall(b"x" * 100_000)
        session = server.wait_for_session()
        assert sum(entry.octets for entry in session.transcript.entries) < 1000


@pytest.mark.parametrize(("port", "moment", "sent", "act"), CASES)
def test_a_server_stops_while_a_rule_acts(port, moment, sent, act):
    with MailServer() as server, acting(server, port, moment, sent, act) as client:
        server.stop()
        with contextlib.suppress(ConnectionResetError):
            while client.recv(1000):
                pass
        assert server.sessions[0].closed


@pytest.mark.parametrize("port", ["smtp", "pop3"])
def test_the_last_reply_and_a_wait(server, port):
    rules = server.smtp if port == "smtp" else server.pop3
    rules.on("QUIT").truncate(3).delay("1h")
    with socket.create_connection((rules.host, rules.port), timeout=5) as client:
        assert client.recv(1000)
        client.sendall(b"QUIT\r\n")
        assert client.recv(1000) == {"smtp": b"221", "pop3": b"+OK"}[port]
        server.clock.advance("59m")
        assert not server.sessions[0].closed
        server.clock.advance("1m")
        assert client.recv(1000) == b""


class TestTLS:
    """By the implicit port, and by STARTTLS."""

    @pytest.mark.parametrize("act", ["close", "half_close", "reset"])
    def test_the_reply_before_an_ending(self, server, act):
        getattr(server.smtp.on("NOOP").reply(421, "4.3.0", "bye"), act)()
        with begun(server, "smtps") as client:
            client.sendall(b"NOOP\r\n")
            assert client.recv(1000) == b"421 4.3.0 bye\r\n"
            if act == "reset":
                server.clock.advance(0)
                with (
                    socket.socket(fileno=os.dup(client.fileno())) as plain,
                    pytest.raises(ConnectionResetError),
                ):
                    plain.recv(1000)
            else:
                assert client.recv(1000) == b""  # TLS says that it ends
        assert server.wait_for_session().closed

    def test_a_half_closed_connection_takes_input(self, server):
        server.smtp.on("NOOP").half_close()
        with begun(server, "smtps") as client:
            client.sendall(b"NOOP\r\n")
            assert client.recv(1000) == b""
            for _ in range(3):
                client.sendall(b"NOOP\r\n")
                server.clock.advance(0)
            assert not server.sessions[0].closed
        assert server.wait_for_session().closed

    @pytest.mark.parametrize("act", ["drip", "delay"])
    def test_a_slow_reply(self, server, act):
        DELAYS[act](server.pop3.on("CAPA"))
        with begun(server, "pop3s") as client:
            client.sendall(b"CAPA\r\n")
            server.clock.advance("10h" if act == "delay" else "200h")
            assert b"".join(client.recv(1) for _ in range(3)) == b"+OK"

    def test_a_delayed_handshake_comes_to_its_end(self):
        with MailServer() as server:
            server.smtp.on("tls").delay(0.05)
            server.smtp.on("connect").delay(0.05)
            for port, client_class in (("smtp", smtplib.SMTP), ("smtps", smtplib.SMTP_SSL)):
                where = server.ports[port]
                more: Any = {"context": server.ssl_context()} if port == "smtps" else {}
                with client_class(where.host, where.port, timeout=10, **more) as client:
                    if port == "smtp":
                        assert client.starttls(context=server.ssl_context())[0] == 220
                    assert client.noop()[0] == 250
            assert all(session.tls for session in server.sessions)

    @pytest.mark.parametrize("moment", ["STARTTLS", "tls"])
    def test_octets_behind_starttls_are_dropped(self, server, moment):
        server.smtp.on(moment).delay("1m")
        where = server.smtp
        with socket.create_connection((where.host, where.port), timeout=5) as client:
            client.sendall(b"EHLO c\r\nSTARTTLS\r\nRSET\r\n")
            server.clock.advance(0)
            if moment == "STARTTLS":
                client.sendall(b"VRFY injected\r\n")
            server.clock.advance("1m")
            received = b""
            while not received.endswith(b"220 2.0.0 begin TLS\r\n"):
                received += client.recv(65536)
            tls = server.ssl_context().wrap_socket(client, server_hostname="127.0.0.1")
            tls.sendall(b"NOOP\r\n")
            assert tls.recv(1000) == b"250 2.0.0 Ok\r\n"
        transcript = server.sessions[0].transcript
        assert (transcript.count("RSET"), transcript.count("VRFY"), transcript.count("NOOP")) == (0, 0, 1)


def test_what_comes_in_the_clear_before_implicit_tls(server):
    """As some proxies do that cannot reach the server behind them."""
    server.smtp.on("connect").raw(b"upstream failed\r\n")
    where = server.smtps
    with (
        socket.create_connection((where.host, where.port), timeout=5) as client,
        pytest.raises(ssl.SSLError, match=r"(?i)wrong.version"),
    ):
        server.ssl_context().wrap_socket(client, server_hostname="127.0.0.1")


def test_a_rate_limit_as_that_of_a_large_provider(server):
    limit = server.smtp.on("MAIL").above(10, per="1m").reply(421, "4.7.0", "too fast").close()

    def sent(count: int) -> list[int]:
        replies = []
        for _ in range(count):
            with smtplib.SMTP(server.smtp.host, server.smtp.port) as client:
                client.helo("c")
                replies.append(client.mail("a@b.example")[0])
                client.close()
        return replies

    assert sent(12) == [250] * 10 + [421] * 2
    server.clock.advance("30s")
    assert sent(1) == [421]
    server.clock.advance("30s")
    assert sent(11) == [250] * 10 + [421]
    assert limit.fired == 4


def test_the_limit_of_connections_counts_after_a_delayed_arrival():
    with MailServer(seed=1, limits={"connections": 1, "exempt": []}) as server:
        server.smtp.on("connect").delay("1m")
        where = server.smtp
        clients = [socket.create_connection((where.host, where.port), timeout=5) for _ in range(2)]
        server.clock.advance("1m")
        assert sorted(client.recv(1000)[:3] for client in clients) == [b"220", b"421"]
        for client in clients:
            client.close()
