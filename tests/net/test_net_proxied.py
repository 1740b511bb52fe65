"""Clients behind proxies: who they count as, and what becomes of those that do not say."""

import ipaddress
import ssl
import struct
from collections.abc import Callable

import attrs
import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.ssl import CertificateOptions

from mailserver.net.proxied import HEADER_TIMEOUT
from tests.support.net.fakes import LOST, Journal, POP3Port, SMTPPort, Wire
from tests.support.net.handshakes import client_context
from tests.support.net.limits import only_limits
from tests.support.net.loop import Client, Loop
from tests.support.sasl.client import one_line
from tests.support.tls_material import Authority

PROXY = "10.0.0.1"
PROXIES = (ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("fd00::/8"))
BEGIN = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
PORTS = pytest.mark.parametrize("kind", [SMTPPort, POP3Port])
Kind = type[SMTPPort] | type[POP3Port]


def v1(client: str) -> bytes:
    return b"PROXY TCP4 %s 10.0.0.1 40000 25\r\n" % client.encode()


def v2(client: str) -> bytes:
    packed = ipaddress.ip_address(client).packed
    kind, server = (0x11, bytes(4)) if len(packed) == 4 else (0x21, bytes(16))
    addresses = packed + server + struct.pack("!HH", 40000, 25)
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, kind, len(addresses)) + addresses


LOCAL = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x20, 0, 0)


@attrs.define
class Line:
    """A connection from a proxy, or from somebody who is none."""

    port: SMTPPort | POP3Port
    wire: Wire

    def send(self, octets: bytes) -> bytes:
        """Send octets, and read all that is answered."""
        self.wire.protocol.dataReceived(octets)  # type: ignore[attr-defined]
        return self.wire.said()

    def close(self) -> None:
        self.wire.protocol.connectionLost(LOST)  # type: ignore[attr-defined]


def dial(port: SMTPPort | POP3Port, host: str = PROXY) -> Line:
    address = (IPv6Address if ":" in host else IPv4Address)("TCP", host, 40000)
    protocol = port.factory.buildProtocol(address)
    wire = Wire(peerAddress=address)
    wire.protocol = protocol  # type: ignore[attr-defined]
    protocol.makeConnection(wire)
    return Line(port, wire)


# ------------------------------------------------------------ headers


@PORTS
@pytest.mark.parametrize("header", [v1("192.0.2.7"), v2("192.0.2.7"), v2("2001:db8::7")])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_greeting_comes_after_the_header_however_that_is_cut(
    kind: Kind, header: bytes, step: int, journal: Journal
) -> None:
    port = kind(proxies=PROXIES)
    line = dial(port)
    said = b""
    for start in range(0, len(header), step):
        assert said == b""
        said = line.send(header[start : start + step])
    assert said == port.greeting
    assert line.send(b"NOOP\r\n")
    line.close()
    assert port.is_clean and journal.lines() == []


@pytest.mark.parametrize("header", [v1("192.0.2.7"), v2("192.0.2.7")])
def test_what_comes_with_the_header_is_run(header: bytes) -> None:
    port = SMTPPort(proxies=PROXIES)
    line = dial(port)
    said = line.send(header + b"EHLO c.example\r\nNOOP\r\n")
    assert said.startswith(port.greeting) and said.endswith(b"\r\n250 2.0.0 Ok\r\n")
    line.close()
    assert port.is_clean


def test_the_real_client_stands_in_trace_fields_and_logs(journal: Journal) -> None:
    port = SMTPPort(proxies=PROXIES)
    line = dial(port)
    line.send(v1("192.0.2.7") + BEGIN + b"text\r\n.\r\n")
    [message] = port.spool.messages
    assert message.trace.startswith(b"Received: from c.example ([192.0.2.7])\r\n")
    assert PROXY.encode() not in message.trace
    message.commits.callback(None)
    line.send(one_line(b"alice", b"wrong"))
    accepted, refused = journal.lines()
    assert "(client 192.0.2.7, " in accepted
    assert refused.startswith("login rejected: 'alice' from 192.0.2.7 by PLAIN: ")
    line.close()
    assert port.is_clean


@PORTS
def test_the_real_client_is_counted_and_the_proxy_is_not(kind: Kind, journal: Journal) -> None:
    port = kind(limits=only_limits(connections_per_address=1), proxies=PROXIES)
    lines = [dial(port) for _ in range(4)]
    assert port.limits.connections.total == 0
    for number, line in enumerate(lines[:3]):
        assert line.send(v1(f"192.0.2.{number}")) == port.greeting
    again = lines[3].send(v2("192.0.2.0"))
    assert again.startswith((b"421 4.7.0 ", b"-ERR [SYS/TEMP] ")) and lines[3].wire.disconnecting
    [refused] = journal.lines("limits.connections_per_address")
    assert refused.startswith("rejected 192.0.2.0: ")
    assert port.limits.connections.total == 3
    for line in lines:
        line.close()
    assert port.is_clean


def test_a_failed_login_is_the_real_clients() -> None:
    port = SMTPPort(limits=only_limits(auth_failure_delay=4.0), proxies=PROXIES)
    guesser, owner = dial(port), dial(port)
    guesser.send(v1("192.0.2.66") + b"EHLO c.example\r\n")
    owner.send(v1("192.0.2.7") + b"EHLO c.example\r\n")
    assert guesser.send(one_line(b"alice", b"wrong")) == b""
    assert owner.send(one_line(b"alice", b"secret")).startswith(b"235 ")
    for line in (guesser, owner):
        line.close()
    assert port.is_clean


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", LOCAL])
def test_a_proxy_that_speaks_for_itself_is_its_own_client(header: bytes) -> None:
    port = SMTPPort(limits=only_limits(connections_per_address=1), proxies=PROXIES)
    first, second = dial(port), dial(port)
    assert first.send(header + BEGIN).startswith(port.greeting)
    assert port.spool.messages[0].trace.startswith(b"Received: from c.example ([10.0.0.1])\r\n")
    assert second.send(header).startswith(b"421 ")
    first.close()
    second.close()
    assert port.is_clean


def test_a_proxy_may_have_any_kind_of_address() -> None:
    port = SMTPPort(proxies=PROXIES)
    for host in ("fd00::1", "::ffff:10.0.0.1"):
        line = dial(port, host)
        assert line.wire.said() == b""
        assert line.send(v2("2001:db8::7")) == port.greeting
        line.close()
    assert port.is_clean


def test_a_greeting_may_wait_behind_a_proxy_and_early_talkers_are_noticed(journal: Journal) -> None:
    port = SMTPPort(settings={"greeting_delay": 5.0}, proxies=PROXIES)
    waits, talks = dial(port), dial(port)
    assert waits.send(v1("192.0.2.7")) == b""
    assert talks.send(v1("192.0.2.8") + b"EHLO c.example\r\n") == b""
    port.reactor.advance(5)
    assert waits.wire.said() == port.greeting
    assert talks.wire.said().startswith(port.greeting)
    assert journal.lines() == ["early talker 192.0.2.8: command sent before the greeting"]
    waits.close()
    talks.close()
    assert port.is_clean


@pytest.mark.parametrize("together", [False, True], ids=["in two pieces", "in one piece"])
def test_tls_begins_behind_the_header(
    together: bool,
    loop: Loop,
    tls: Callable[[], CertificateOptions],
    trusted: Authority,
    journal: Journal,
) -> None:
    port = SMTPPort(loop, tls=tls, implicit=True, proxies=PROXIES)
    client = Client(loop, port.factory, PROXY)
    context: ssl.SSLContext = client_context(trusted.path)
    context.check_hostname = False
    hello = client.hello(context)
    if not together:
        client.raw(v1("192.0.2.7"))
        assert client.read_raw() == b""
        assert client.go_on(hello) == port.greeting
    else:
        assert client.go_on(v1("192.0.2.7") + hello) == port.greeting
    assert client.ask(b"NOOP\r\n") == b"250 2.0.0 Ok\r\n"
    [connection] = port.factory.connections
    assert connection.client_ip == "192.0.2.7"
    client.close()
    assert port.is_clean and loop.idle and journal.lines() == []


# ------------------------------------------------------------ no header


@PORTS
@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO c.example\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 99999\r\nEHLO c.example\r\n",
        b"PROXY " + b"x" * 200,
        b"\x16\x03\x01\x02\x00",
        b"\r\n\r\n\0\r\nQUIX",
        v2("192.0.2.7")[:12] + b"\x31\x11\x00\x0c" + bytes(12),
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_who_begins_with_anything_else_is_dropped_without_a_word(
    kind: Kind, octets: bytes, journal: Journal
) -> None:
    port = kind(proxies=PROXIES)
    line = dial(port)
    assert line.send(octets) == b"" and line.wire.aborted
    assert journal.lines("listen.proxies") == [
        f"rejected proxy {PROXY}: the connection does not begin with a PROXY header"
    ]
    line.close()
    assert port.is_clean and len(journal.lines()) == 1


@PORTS
@pytest.mark.parametrize("step", [0, 1])
def test_a_header_that_does_not_come_in_time(kind: Kind, step: int, journal: Journal) -> None:
    """Neither silence nor one octet at a time keeps the place."""
    port = kind(proxies=PROXIES)
    line = dial(port)
    header = v1("192.0.2.7")
    for number in range(int(HEADER_TIMEOUT)):
        assert not line.wire.aborted
        if step:
            line.send(header[number : number + step])
        port.reactor.advance(1)
    assert line.wire.aborted
    assert journal.lines("listen.proxies") == [
        f"rejected proxy {PROXY}: no PROXY header within the time limit"
    ]
    line.close()
    assert port.is_clean and len(journal.lines()) == 1


@PORTS
def test_a_proxy_that_hangs_up_before_its_header_leaves_nothing(kind: Kind, journal: Journal) -> None:
    port = kind(proxies=PROXIES)
    for sent in (b"", b"PROXY TCP4 "):
        line = dial(port)
        line.send(sent)
        line.close()
        assert port.is_clean
    assert journal.lines() == []


@PORTS
def test_a_stop_drops_who_has_not_said_for_whom_it_speaks(kind: Kind) -> None:
    port = kind(proxies=PROXIES)
    silent, served = dial(port), dial(port)
    served.send(v1("192.0.2.7"))
    done = port.stop(5.0)
    assert silent.wire.aborted
    silent.close()
    served.close()
    assert done == [None] and port.is_clean


def test_a_header_of_who_is_no_proxy_is_a_wrong_command() -> None:
    port = SMTPPort(proxies=PROXIES)
    line = dial(port, "192.0.2.66")
    assert line.wire.said() == port.greeting
    said = line.send(v1("127.0.0.1") + BEGIN)
    assert said.startswith(b"500 5.5.2 ")
    assert b"([192.0.2.66])" in port.spool.messages[0].trace
    line.close()
    assert port.is_clean


def test_a_header_behind_a_header_is_a_wrong_command() -> None:
    port = SMTPPort(proxies=PROXIES)
    line = dial(port)
    said = line.send(v1("192.0.2.66") + v1("127.0.0.1") + BEGIN)
    assert said.startswith(port.greeting + b"500 5.5.2 ")
    assert b"([192.0.2.66])" in port.spool.messages[0].trace
    line.close()
    assert port.is_clean
