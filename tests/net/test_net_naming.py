"""XCLIENT and XFORWARD on a transport: a client that a trusted proxy names, in limits, checks and log."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred

from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.mail.rate import Rate
from mailserver.net.connection import Connection
from tests.support.net.fakes import LOST, FakeUser, Journal, SMTPPort, Wire
from tests.support.net.limits import only_limits
from tests.support.sasl.client import one_line

PROXY, CLIENT, OTHER = "10.0.0.1", "192.0.2.7", "192.0.2.8"
BEGIN = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nx\r\n.\r\n"
GREETING = SMTPPort.greeting


class ProxyPort(SMTPPort):
    """Trusts the proxy; clients log in with a password only where the proxy itself is the client."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.factory.options = lambda ip: attrs.evolve(  # type: ignore[attr-defined]
            self.options, xclient=ip == PROXY, xforward=ip == PROXY, plaintext_auth=ip == PROXY
        )

    def proxy(self) -> tuple[Connection, Wire]:
        return self.client(host=PROXY)


def name(connection: Connection, wire: Wire, attributes: str) -> bytes:
    connection.dataReceived(b"XCLIENT %s\r\n" % attributes.encode())
    return wire.said()


def test_a_client_counts_in_place_of_the_proxy(journal: Journal) -> None:
    port = ProxyPort(limits=only_limits(connections_per_address=1))
    connection, wire = port.proxy()
    assert name(connection, wire, f"ADDR={CLIENT} NAME=c.example") == GREETING
    connection.dataReceived(BEGIN)
    [message] = port.spool.messages
    assert message.trace.startswith(b"Received: from c.example ([192.0.2.7])\r\n")
    assert message.envelope.client == CLIENT
    message.commits.callback(None)
    first, second = journal.lines()
    assert first == f"proxy {PROXY} speaks for {CLIENT}" and f"(client {CLIENT}, " in second
    # Its place is taken, that of the proxy is free.
    other, there = port.proxy()
    assert name(other, there, f"ADDR={CLIENT}").startswith(b"421 4.7.0 too many connections")
    assert there.disconnecting
    # The client has no permission of the proxy.
    wire.said()
    assert name(connection, wire, f"ADDR={PROXY}").startswith(b"550 5.7.0 ")
    assert connection.client_ip == CLIENT
    for one in (connection, other):
        one.connectionLost(LOST)
    assert port.is_clean


def test_the_options_and_the_limits_are_those_of_the_client(journal: Journal) -> None:
    port = ProxyPort(limits=only_limits(messages_per_address=Rate(1, 3600.0)))
    for client, code in ((CLIENT, b"250"), (OTHER, b"250"), (CLIENT, b"451")):
        connection, wire = port.proxy()
        assert name(connection, wire, f"ADDR={client}") == GREETING
        connection.dataReceived(b"EHLO c.example\r\n")
        said = wire.said()
        assert b"AUTH" not in said and b"XCLIENT" not in said and b"XFORWARD" not in said
        connection.dataReceived(b"MAIL FROM:<a@b.example>\r\nRSET\r\n")
        assert wire.said().startswith(code)
        connection.connectionLost(LOST)
    assert port.is_clean


def test_a_login_by_the_proxy() -> None:
    port = ProxyPort()
    connection, wire = port.proxy()
    assert name(connection, wire, f"ADDR={CLIENT} LOGIN=bob").startswith(b"550 5.7.1 no such account")
    assert name(connection, wire, f"ADDR={CLIENT} LOGIN=alice") == GREETING
    connection.dataReceived(b"EHLO c.example\r\nMAIL FROM:<x@b.example>\r\nMAIL FROM:<alice@example.org>\r\n")
    said = wire.said()
    assert b"\r\n553 5.7.1 " in said and said.endswith(b"\r\n250 2.1.0 Ok\r\n")
    connection.connectionLost(LOST)
    assert port.is_clean


def test_attributes_in_several_commands() -> None:
    port = ProxyPort()
    connection, wire = port.proxy()
    assert name(connection, wire, "HELO=c.example LOGIN=alice") == GREETING
    assert name(connection, wire, f"ADDR=IPV6:::ffff:{CLIENT}") == GREETING
    assert connection.client_ip == CLIENT and connection.proxy_ip == PROXY
    # The login of the first command counts.
    connection.dataReceived(b"EHLO c.example\r\nMAIL FROM:<x@b.example>\r\nMAIL FROM:<alice@example.org>\r\n")
    said = wire.said()
    assert b"\r\n553 5.7.1 " in said and said.endswith(b"\r\n250 2.1.0 Ok\r\n")
    connection.connectionLost(LOST)
    assert port.is_clean


@pytest.mark.parametrize("named", [f"ADDR={CLIENT} LOGIN=alice", f"ADDR={PROXY} LOGIN=alice", "LOGIN=alice"])
@pytest.mark.parametrize("between", ["", "NOOP\r\n", "EHLO c.example\r\n"])
@pytest.mark.parametrize("wanted", ["LOGIN=alice", "LOGIN=[UNAVAILABLE]", "HELO=c.example login=alice"])
def test_no_client_of_a_proxy_changes_its_account(named: str, between: str, wanted: str) -> None:
    """The address of the proxy is trusted, even as that of a client."""
    port = ProxyPort()
    connection, wire = port.proxy()
    assert name(connection, wire, named) == GREETING
    connection.dataReceived(between.encode())
    assert b"XCLIENT" not in wire.said()
    assert name(connection, wire, wanted).startswith(b"550 5.7.0 ")
    connection.dataReceived(b"EHLO c.example\r\nMAIL FROM:<x@b.example>\r\n")
    assert b"\r\n553 5.7.1 " in wire.said()


def test_accounts_that_cannot_be_read(journal: Journal) -> None:
    port = ProxyPort()
    port.authenticator.broken = True
    connection, wire = port.proxy()
    assert name(connection, wire, f"ADDR={CLIENT} LOGIN=alice").startswith(b"451 4.3.0 ")
    assert connection.client_ip == PROXY
    assert [failure.type for failure in journal.failures] == [StorageError]
    journal.events.clear()
    connection.connectionLost(LOST)


def test_a_proxy_that_disconnects_meanwhile(journal: Journal) -> None:
    port = ProxyPort(limits=only_limits(connections_per_address=5))
    checking = port.authenticator.checking = Deferred()
    connection, wire = port.proxy()
    assert name(connection, wire, f"ADDR={CLIENT} LOGIN=alice") == b""
    connection.connectionLost(LOST)
    checking.callback(FakeUser(Address("alice", "example.org"), Deferred()))
    assert port.is_clean and journal.lines() == []


def test_a_login_of_the_proxy_itself_is_forgotten() -> None:
    port = ProxyPort()
    connection, wire = port.proxy()
    connection.dataReceived(b"EHLO p.example\r\n" + one_line(b"alice", b"secret"))
    assert wire.said().endswith(b"\r\n235 2.7.0 authentication successful\r\n")
    assert name(connection, wire, f"ADDR={CLIENT}") == GREETING
    connection.dataReceived(b"EHLO c.example\r\nMAIL FROM:<x@b.example>\r\n")
    assert wire.said().endswith(b"\r\n250 2.1.0 Ok\r\n")


@pytest.mark.parametrize("command", [b"XCLIENT ADDR=192.0.2.7\r\n", b"XFORWARD ADDR=192.0.2.7\r\n"])
def test_nobody_else_names_a_client(command: bytes, journal: Journal) -> None:
    port = ProxyPort()
    connection, wire = port.client(command, host=OTHER)
    assert wire.said().startswith(b"550 5.7.0 ")
    assert connection.client_ip == OTHER and journal.lines() == []


def test_the_origin_is_for_the_log_alone(journal: Journal) -> None:
    port = ProxyPort()
    connection, _ = port.proxy()
    connection.dataReceived(
        b"EHLO f.example\r\nXFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.7 IDENT=x\r\n"
        b"XFORWARD HELO=c.example IDENT=4Q+0AX\r\n" + BEGIN.partition(b"\r\n")[2]
    )
    [message] = port.spool.messages
    assert message.trace.startswith(b"Received: from f.example ([10.0.0.1])\r\n")
    told = (
        f"{message.envelope.id}: came from {CLIENT} by way of {PROXY} (name , HELO c.example, id there 4Q?X)"
    )
    assert journal.lines() == [told]
    # It was for that message alone.
    message.commits.callback(None)
    connection.dataReceived(b"MAIL FROM:<a@b.example>\r\n")
    assert [line for line in journal.lines() if "came from" in line] == [told]
