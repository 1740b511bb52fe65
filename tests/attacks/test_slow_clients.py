"""Clients that send an octet every thirty seconds, in every state: none of them keeps its place for ever."""

import ipaddress
import ssl
from collections.abc import Callable

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.ssl import CertificateOptions

from mailserver.net.proxied import HEADER_TIMEOUT
from tests.support.net.fakes import LOST, FakeMaildrop, POP3Port, SMTPPort, Wire
from tests.support.net.handshakes import client_context
from tests.support.net.loop import Client, Loop
from tests.support.tls_material import Authority

STEP = 30.0
LOGIN = b"USER alice\r\nPASS secret\r\n"
BEGUN = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\n"
STATES: dict[str, tuple[type[SMTPPort] | type[POP3Port], bytes, bytes]] = {
    "SMTP before EHLO": (SMTPPort, b"", b"EHLO a-client-with-a-rather-long-name.example\r\n"),
    "SMTP idle": (SMTPPort, b"EHLO c.example\r\n", b"NOOP " + b"x" * 100),
    "SMTP, no line at all": (SMTPPort, b"", b"x" * 400),
    "SMTP transaction": (SMTPPort, BEGUN, b"RCPT TO:<" + b"x" * 100),
    "SMTP message": (SMTPPort, BEGUN + b"DATA\r\nSubject: x\r\n\r\n", b"x\r\n" * 100),
    "SMTP end of a message": (SMTPPort, BEGUN + b"DATA\r\n", b"\r\n.\r" * 50),
    "SMTP refused message": (SMTPPort, BEGUN + b"DATA\r\nbare\nnewline\r\n", b"x\r\n" * 100),
    "SMTP AUTH PLAIN": (SMTPPort, b"EHLO c.example\r\nAUTH PLAIN\r\n", b"A" * 400),
    "SMTP AUTH LOGIN": (SMTPPort, b"EHLO c.example\r\nAUTH LOGIN\r\nYWxpY2U=\r\n", b"A" * 400),
    "SMTP AUTH SCRAM": (
        SMTPPort,
        b"EHLO c.example\r\nAUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiY2RlZg==\r\n",
        b"A" * 400,
    ),
    "POP3 authorization": (POP3Port, b"", b"USER " + b"x" * 200),
    "POP3 USER": (POP3Port, b"USER alice\r\n", b"PASS " + b"x" * 200),
    "POP3 AUTH": (POP3Port, b"AUTH PLAIN\r\n", b"A" * 400),
    "POP3 transaction": (POP3Port, LOGIN + b"DELE 1\r\n", b"RETR " + b"1" * 200),
}


@pytest.mark.parametrize("state", STATES)
def test_octet_by_octet(state: str) -> None:
    """SMTP says 421; POP3 hangs up, and removes nothing (RFC 1939 section 3)."""
    kind, before, octets = STATES[state]
    port = kind()
    port.authenticator.maildrop = maildrop = FakeMaildrop([b"Subject: 1\r\n\r\n"])
    connection, wire = port.client(before)
    wire.said()
    began = port.reactor.seconds()
    for octet in octets:
        if wire.disconnecting:
            break
        connection.dataReceived(bytes([octet]))
        port.reactor.advance(STEP)
    assert wire.disconnecting
    assert port.reactor.seconds() - began <= port.options.command_timeout + STEP
    last = wire.said().splitlines()[-1:]
    assert (
        last == [b"421 4.4.2 mail.example.org timeout; closing the connection"]
        if kind is SMTPPort
        else last == []
    )
    connection.connectionLost(LOST)
    assert port.is_clean and maildrop.removed == []
    if kind is SMTPPort:
        assert all(message.state == "abandoned" for message in port.spool.messages)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [SMTPPort, POP3Port])
@pytest.mark.parametrize("implicit", [False, True])
def test_a_handshake_octet_by_octet(
    kind: type[SMTPPort] | type[POP3Port],
    implicit: bool,
    loop: Loop,
    tls: Callable[[], CertificateOptions],
    trusted: Authority,
) -> None:
    port = kind(loop, settings={"starttls": not implicit}, tls=tls, implicit=implicit)
    client = Client(loop, port.factory)
    if not implicit:
        client.ask(b"STARTTLS\r\n" if kind is SMTPPort else b"STLS\r\n")
    context: ssl.SSLContext = client_context(trusted.path)
    context.check_hostname = False
    hello = client.hello(context)
    for octet in hello:
        client.raw(bytes([octet]))
        loop.wait(STEP)
        if client.read_raw() == b"" and client.lost:
            break
    assert client.lost and loop.seconds() <= port.options.command_timeout + STEP
    assert port.is_clean and loop.idle


def test_a_record_of_tls_octet_by_octet(
    loop: Loop, tls: Callable[[], CertificateOptions], trusted: Authority
) -> None:
    """After the handshake: what TLS has not put together is no progress either."""
    port = SMTPPort(loop, tls=tls, implicit=True)
    client = Client(loop, port.factory)
    context: ssl.SSLContext = client_context(trusted.path)
    context.check_hostname = False
    client.shake_hands(context)
    for octet in b"\x17\x03\x03\x40\x00" + bytes(100):
        client.raw(bytes([octet]))
        loop.wait(STEP)
        if client.read().startswith(b"421 4.4.2 "):
            break
    else:
        raise AssertionError("still connected")
    assert loop.seconds() <= port.options.command_timeout + STEP
    loop.wait(port.options.command_timeout)
    assert port.is_clean and loop.idle, "nobody waits for its farewell for ever"


def test_a_proxys_header_octet_by_octet() -> None:
    """A proxy is a machine, and quick."""
    port = SMTPPort(proxies=(ipaddress.ip_network("192.0.2.1"),))
    address = IPv4Address("TCP", "192.0.2.1", 40000)
    protocol, wire = port.factory.buildProtocol(address), Wire(peerAddress=address)
    protocol.makeConnection(wire)
    for octet in b"PROXY TCP4 198":
        protocol.dataReceived(bytes([octet]))
        port.reactor.advance(1)
        if wire.aborted:
            break
    assert wire.aborted and port.reactor.seconds() == HEADER_TIMEOUT
    protocol.connectionLost(LOST)
    assert port.is_clean
