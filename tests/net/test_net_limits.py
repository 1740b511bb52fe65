"""Limits on a transport: who is turned away, what is put off, what is slow, and what a reload changes."""

import ipaddress
import ssl
from collections.abc import Callable

import pytest
from twisted.internet.ssl import CertificateOptions

from mailserver.mail.rate import Rate
from tests.support.net.fakes import LOST, Journal, POP3Port, SMTPPort, connect
from tests.support.net.handshakes import client_context
from tests.support.net.limits import NO_LIMITS, only_limits
from tests.support.net.loop import Client, Loop
from tests.support.sasl.client import one_line
from tests.support.tls_material import Authority

HELLO = b"EHLO c.example\r\n"
MAIL = b"MAIL FROM:<a@b.example>\r\n"
BOB = b"RCPT TO:<bob@example.org>\r\n"
NOBODY = b"RCPT TO:<nobody@example.org>\r\n"
A, B = "192.0.2.1", "192.0.2.2"
TWO_AN_HOUR = Rate(2, 3600.0)
PORTS = pytest.mark.parametrize("kind", [SMTPPort, POP3Port])
Kind = type[SMTPPort] | type[POP3Port]


def codes(said: bytes) -> list[bytes]:
    """The beginning of each reply."""
    return [line[:9] for line in said.splitlines() if line[3:4] == b" "]


# ------------------------------------------------------------ connections


@PORTS
def test_connections_of_one_address(kind: Kind, journal: Journal) -> None:
    port = kind(limits=only_limits(connections_per_address=2))
    first, second = port.client(host=A), port.client(host=A)
    third, wire = connect(port.factory, A)
    third.dataReceived(b"NOOP\r\n")
    said = wire.said()
    assert said.startswith(b"421 4.7.0 too many" if kind is SMTPPort else b"-ERR [SYS/TEMP] too many")
    assert said.count(b"\r\n") == 1 and wire.disconnecting
    assert journal.lines("limits.connections_per_address") == [
        f"rejected {A}: too many connections from your address; please close one, or try again later"
    ]
    other = port.client(host=B)
    third.connectionLost(LOST)
    assert port.limits.connections.total == 3, "who was turned away is not counted, and not twice"
    first[0].connectionLost(LOST)
    again = port.client(host=A)
    for connection, _ in (second, other, again):
        connection.connectionLost(LOST)
    assert port.is_clean


@PORTS
def test_connections_in_all_on_all_ports(kind: Kind, journal: Journal) -> None:
    port = kind(limits=only_limits(connections=3))
    other = (POP3Port if kind is SMTPPort else SMTPPort)()
    other.factory.context = port.factory.context
    there = [other.client(host=f"192.0.2.{number}") for number in range(2)]
    here = port.client(host="192.0.2.3")
    refused, wire = connect(port.factory, "192.0.2.4")
    assert wire.said().startswith((b"421 4.7.0 ", b"-ERR [SYS/TEMP] ")) and wire.disconnecting
    assert len(journal.lines("limits.connections")) == 1
    refused.connectionLost(LOST)
    there[0][0].connectionLost(LOST)
    late, _ = port.client(host="192.0.2.4")
    for connection in (there[1][0], here[0], late):
        connection.connectionLost(LOST)
    assert port.is_clean and not other.factory.connections


@PORTS
def test_where_tls_is_implicit_nothing_is_said_in_the_clear(
    kind: Kind,
    loop: Loop,
    tls: Callable[[], CertificateOptions],
    trusted: Authority,
    journal: Journal,
) -> None:
    port = kind(loop, only_limits(connections_per_address=1), tls=tls, implicit=True)
    first = Client(loop, port.factory)
    second = Client(loop, port.factory)
    assert second.read_raw() == b"" and second.lost
    assert len(journal.lines("limits.connections_per_address")) == 1
    context: ssl.SSLContext = client_context(trusted.path)
    context.check_hostname = False
    assert first.shake_hands(context) == port.greeting
    first.close()
    second.close()
    assert port.is_clean and loop.idle


@PORTS
def test_a_whole_64_is_one_client(kind: Kind) -> None:
    port = kind(limits=only_limits(connections_per_address=1))
    clients = [port.client(host="2001:db8:0:1::1")]
    same, wire = connect(port.factory, "2001:db8:0:1:ffff::1")
    assert wire.disconnecting
    same.connectionLost(LOST)
    clients += [port.client(host=host) for host in ("2001:db8:0:2::1", "::ffff:192.0.2.1", "192.0.2.2")]
    same, wire = connect(port.factory, "192.0.2.1")
    assert wire.disconnecting, "the same address, in its other form"
    same.connectionLost(LOST)
    for connection, _ in clients:
        connection.connectionLost(LOST)
    assert port.is_clean


@PORTS
@pytest.mark.parametrize("host", ["192.0.2.200", "2001:db8::1", ""])
def test_exempt_clients_and_those_without_an_address_are_as_many_as_they_like(kind: Kind, host: str) -> None:
    exempt = ipaddress.ip_network("192.0.2.128/25"), ipaddress.ip_network("2001:db8::/32")
    port = kind(limits=only_limits(connections=1, connections_per_address=1, exempt=exempt))
    counted, _ = port.client(host=A)
    others = [port.client(host=host) for _ in range(5)]
    for connection, _ in [(counted, None), *others]:
        connection.connectionLost(LOST)
    assert port.is_clean


# ------------------------------------------------------------ rates


def test_messages_of_an_address(journal: Journal) -> None:
    port = SMTPPort(limits=only_limits(messages_per_address=TWO_AN_HOUR))
    connection, wire = port.caller(MAIL + b"RSET\r\n" + MAIL + b"RSET\r\n" + MAIL + b"NOOP\r\n", A)
    assert codes(wire.said()) == [
        *(b"250 2.1.0", b"250 2.0.0") * 2,
        b"451 4.7.1",
        b"250 2.0.0",
    ]
    assert journal.lines("limits.messages_per_address") == [
        f"rejected <a@b.example> from {A}: "
        "too many messages from your address; please try again in 60 minutes"
    ]
    other, wires = port.caller(MAIL, B)
    assert codes(wires.said()) == [b"250 2.1.0"]
    other.connectionLost(LOST)
    connection.connectionLost(LOST)
    port.reactor.advance(3600)
    connection, wire = port.caller(MAIL, A)
    assert codes(wire.said()) == [b"250 2.1.0"]


def test_messages_of_an_account_from_anywhere(journal: Journal) -> None:
    port = SMTPPort(limits=only_limits(messages_per_account=TWO_AN_HOUR))
    own = b"MAIL FROM:<alice@example.org>\r\n"
    for number, code in enumerate([b"250 2.1.0", b"250 2.1.0", b"451 4.7.1"]):
        _, wire = port.caller(one_line(b"alice", b"secret") + own, f"192.0.2.{number}")
        assert codes(wire.said()) == [b"235 2.7.0", code]
    _, wire = port.caller(own, "192.0.2.2")
    assert codes(wire.said()) == [b"250 2.1.0"], "without a login it is nobody's account"
    [line] = journal.lines("limits.messages_per_account")
    assert line.startswith(
        "rejected <alice@example.org> from 192.0.2.2: too many messages from this account;"
    )


def test_messages_and_recipients_of_a_senders_domain(journal: Journal) -> None:
    port = SMTPPort(
        limits=only_limits(
            messages_per_sender_domain=TWO_AN_HOUR, recipients_per_sender_domain=Rate(3, 3600.0)
        )
    )
    _, wire = port.caller(MAIL + BOB + BOB, A)
    assert codes(wire.said()) == [b"250 2.1.0", b"250 2.1.5", b"250 2.1.5"]
    _, wire = port.caller(MAIL.replace(b"b.example", b"B.EXAMPLE") + BOB + BOB, B)
    assert codes(wire.said()) == [b"250 2.1.0", b"250 2.1.5", b"451 4.7.1"]
    _, wire = port.caller(MAIL + MAIL.replace(b"b.example", b"c.example") + BOB, B)
    assert codes(wire.said()) == [b"451 4.7.1", b"250 2.1.0", b"250 2.1.5"]
    _, wire = port.caller((b"MAIL FROM:<>\r\n" + BOB + b"RSET\r\n") * 5, B)
    assert {code[:3] for code in codes(wire.said())} == {b"250"}, "the null reverse-path has no domain"
    assert len(journal.lines("limits.messages_per_sender_domain", "limits.recipients_per_sender_domain")) == 2


@pytest.mark.parametrize("rule", ["recipients_per_address", "recipients_per_account"])
def test_recipients(rule: str, journal: Journal) -> None:
    """Those before stay, and the message goes to them."""
    port = SMTPPort(limits=only_limits(**{rule: TWO_AN_HOUR}))
    own = b"MAIL FROM:<alice@example.org>\r\n"
    _, wire = port.caller(one_line(b"alice", b"secret") + own + BOB * 4 + b"DATA\r\n.\r\n")
    assert codes(wire.said())[2:-1] == [b"250 2.1.5", b"250 2.1.5", b"451 4.7.1", b"451 4.7.1"]
    [message] = port.spool.messages
    assert message.state == "committing" and len(message.envelope.recipients) >= 1
    assert len(journal.lines(f"limits.{rule}")) == 1, "the other is counted"


def test_an_exempt_client_has_no_more_recipients_than_its_account(journal: Journal) -> None:
    """limits.exempt is for addresses alone."""
    limits = only_limits(
        recipients_per_account=TWO_AN_HOUR,
        recipients_per_address=Rate(1, 3600.0),
        exempt=(ipaddress.ip_network(A),),
    )
    port = SMTPPort(limits=limits)
    own = one_line(b"alice", b"secret") + b"MAIL FROM:<alice@example.org>\r\n"
    _, wire = port.caller(own + BOB * 3, A)
    assert codes(wire.said())[2:] == [b"250 2.1.5", b"250 2.1.5", b"451 4.7.1"]
    [line] = journal.lines("limits.recipients_per_account")
    assert line.startswith(
        f"rejected <alice@example.org> to <bob@example.org> from {A}: too many recipients from this account;"
    )
    _, wire = port.caller(MAIL + BOB * 3, A)
    assert codes(wire.said()) == [b"250 2.1.0", *[b"250 2.1.5"] * 3], "without a login nothing counts"


PROBES = [NOBODY, b"VRFY nobody\r\n", b"EXPN nobody\r\n"]


@pytest.mark.parametrize("probe", PROBES)
def test_who_has_asked_for_too_many_that_do_not_exist_learns_no_more(probe: bytes, journal: Journal) -> None:
    port = SMTPPort(
        limits=only_limits(failed_recipients_per_address=TWO_AN_HOUR), settings={"verify": "always"}
    )
    connection, wire = port.caller(MAIL + probe * 2, A)
    assert codes(wire.said()) == [b"250 2.1.0", b"550 5.1.1", b"550 5.1.1"]
    connection.connectionLost(LOST)
    port.router.asked.clear()
    _, wire = port.caller(MAIL + NOBODY + BOB + b"VRFY bob\r\nEXPN bob\r\n", A)
    assert codes(wire.said()) == [b"250 2.1.0", *[b"451 4.7.1"] * 4]
    assert port.router.asked == [], "routing is not asked"
    assert len(journal.lines("limits.failed_recipients_per_address")) == 1, "the others are counted"
    _, wire = port.caller(MAIL + NOBODY + BOB, B)
    assert codes(wire.said()) == [b"250 2.1.0", b"550 5.1.1", b"250 2.1.5"]


@PORTS
def test_commands(kind: Kind, journal: Journal) -> None:
    port = kind(limits=only_limits(commands_per_address=Rate(5, 60.0)))
    connection, wire = port.client(host=A)
    answers = []
    for _ in range(6):
        assert not wire.disconnecting
        connection.dataReceived(b"NOOP\r\n")
        answers.append(wire.said())
    assert b"421 4.7.0 " not in b"".join(answers[:5])
    last = answers[5].splitlines()[-1]
    assert last.startswith(b"421 4.7.0 " if kind is SMTPPort else b"-ERR [SYS/TEMP] ")
    assert b"too many commands from your address; please try again in 60 seconds" in last
    assert wire.disconnecting
    connection.dataReceived(b"NOOP\r\n")
    assert wire.said() == b""
    connection.connectionLost(LOST)
    assert len(journal.lines("limits.commands_per_address")) == 1
    again, wire = port.client(b"NOOP\r\n", A)
    assert wire.disconnecting, "another connection does not help"
    again.connectionLost(LOST)
    other, wire = port.client(b"NOOP\r\n", B)
    assert not wire.disconnecting
    other.connectionLost(LOST)
    assert port.is_clean


def test_a_message_of_who_has_sent_too_many_commands_is_not_taken() -> None:
    port = SMTPPort(limits=only_limits(commands_per_address=Rate(3, 60.0)))
    connection, wire = port.caller(MAIL + BOB + b"DATA\r\ntext\r\n.\r\n")
    assert codes(wire.said())[-1] == b"421 4.7.0" and wire.disconnecting
    connection.connectionLost(LOST)
    assert all(message.state == "abandoned" for message in port.spool.messages)
    assert port.is_clean


# ------------------------------------------------------------ wrong commands


@PORTS
def test_from_the_fourth_wrong_command_of_a_connection_on_replies_wait(kind: Kind) -> None:
    port = kind(limits=only_limits(error_delay=1.0))
    for _ in range(2):
        connection, wire = port.client()
        for _ in range(3):
            connection.dataReceived(b"WRONG\r\n")
            assert wire.said()
        for _ in range(3):
            connection.dataReceived(b"WRONG\r\n")
            port.reactor.advance(0.99)
            assert wire.said() == b""
            port.reactor.advance(0.01)
            assert wire.said().count(b"\r\n") == 1
        connection.dataReceived(b"QUIT\r\n")
        assert wire.said() and wire.disconnecting
        connection.connectionLost(LOST)
    assert port.is_clean


@PORTS
def test_what_is_pipelined_behind_a_slow_reply_waits_with_it(kind: Kind) -> None:
    port = kind(limits=only_limits(error_delay=1.0))
    connection, wire = port.client(b"WRONG\r\n" * 3)
    wire.said()
    connection.dataReceived(b"WRONG\r\nQUIT\r\n")
    connection.dataReceived(b"WRONG\r\n")
    port.reactor.advance(0.99)
    assert wire.said() == b"" and wire.producerState == "paused"
    port.reactor.advance(0.01)
    assert wire.said().count(b"\r\n") == 2 and wire.disconnecting
    connection.connectionLost(LOST)
    assert port.is_clean


@PORTS
@pytest.mark.parametrize("end", ["lost", "stopped"])
def test_who_leaves_the_tarpit_leaves_nothing(kind: Kind, end: str) -> None:
    port = kind(limits=only_limits(error_delay=30.0))
    connection, wire = port.client(b"WRONG\r\n" * 4 + b"NOOP\r\n")
    done = port.stop(5.0) if end == "stopped" else []
    if end == "stopped":
        port.reactor.advance(5)
        assert wire.disconnecting
        assert wire.said().splitlines()[-1].startswith(b"421 4.3.2 " if kind is SMTPPort else b"-ERR ")
    connection.connectionLost(LOST)
    assert port.is_clean
    assert done == ([None] if end == "stopped" else [])


@PORTS
def test_exempt_clients_are_neither_counted_nor_slow(kind: Kind) -> None:
    port = kind(
        limits=only_limits(
            commands_per_address=Rate(1, 60.0), error_delay=30.0, exempt=(ipaddress.ip_network(A),)
        )
    )
    connection, wire = port.client(b"WRONG\r\n" * 6 + b"QUIT\r\n")
    assert len(wire.said().splitlines()) == 7 and wire.disconnecting
    connection.connectionLost(LOST)
    assert port.is_clean


def test_too_many_wrong_commands_are_one_line_of_the_log(journal: Journal) -> None:
    port = SMTPPort(settings={"max_errors": 5})
    connection, wire = port.client(b"WRONG\r\n" * 6)
    assert codes(wire.said()) == [b"500 5.5.2"] * 4 + [b"421 4.7.0"]
    assert wire.disconnecting
    assert len(journal.lines()) == 1
    connection.connectionLost(LOST)
    assert port.is_clean


@pytest.mark.parametrize("what", [NOBODY, b"VRFY nobody\r\n", b"EXPN nobody\r\n"])
def test_refused_names_are_slow_from_the_101st_on_and_end_the_session(what: bytes) -> None:
    """The first three of those that count are not slow, as with wrong commands."""
    port = SMTPPort(limits=only_limits(error_delay=1.0), settings={"verify": "always"})
    connection, wire = port.caller(MAIL + what * 150)
    said = wire.said()
    port.reactor.advance(0.99)
    assert wire.said() == b""
    port.reactor.advance(0.01)
    assert codes(said + wire.said()) == [b"250 2.1.0"] + [b"550 5.1.1"] * 104
    for _ in range(15):
        assert not wire.disconnecting
        port.reactor.advance(1)
    assert codes(wire.said()) == [b"550 5.1.1"] * 15 + [b"421 4.7.0"] and wire.disconnecting
    connection.connectionLost(LOST)
    assert port.is_clean


# ------------------------------------------------------------ reload


def test_a_reload_reaches_connections_that_are_open() -> None:
    port = SMTPPort(limits=only_limits(connections_per_address=1, error_delay=0.0))
    connection, wire = port.caller()
    port.limits.replace(
        only_limits(
            connections_per_address=2,
            error_delay=1.0,
            auth_failure_delay=4.0,
            messages_per_address=Rate(1, 3600.0),
        )
    )
    other, other_wire = port.caller()
    _, refused = connect(port.factory, A)
    assert refused.disconnecting
    connection.dataReceived(MAIL + b"RSET\r\n" + MAIL)
    assert codes(wire.said()) == [b"250 2.1.0", b"250 2.0.0", b"451 4.7.1"]
    connection.dataReceived(one_line(b"alice", b"wrong"))
    port.reactor.advance(3.99)
    assert wire.said() == b""
    port.reactor.advance(0.01)
    assert codes(wire.said()) == [b"535 5.7.8"]
    other.dataReceived(b"WRONG\r\n" * 4 + b"NOOP\r\n")
    assert codes(other_wire.said()) == []
    port.limits.replace(NO_LIMITS)
    port.reactor.advance(1)
    assert codes(other_wire.said()) == [b"500 5.5.2"] * 4 + [b"250 2.0.0"]
    connection.dataReceived(MAIL)
    assert codes(wire.said()) == [b"250 2.1.0"]
    connection.connectionLost(LOST)
    other.connectionLost(LOST)
    assert port.is_clean
