"""Clients that speak before they are greeted (RFC 5321 section 4.3.1)."""

import ipaddress

import pytest

from mailserver.config.keys.limits import LimitsSection
from mailserver.net.connection import Connection
from tests.support.net.fakes import LOST, Journal, SMTPPort, Wire, connect
from tests.support.net.limits import NO_LIMITS, only_limits

DELAY = 5.0
EARLY = "command sent before the greeting"


def slow_port(refuse: bool = False, limits: LimitsSection = NO_LIMITS) -> SMTPPort:
    return SMTPPort(
        limits=limits, settings={"greeting_delay": DELAY, "early_talkers": "refuse" if refuse else "log"}
    )


def arrive(port: SMTPPort, host: str = "192.0.2.1") -> tuple[Connection, Wire]:
    connection, wire = connect(port.factory, host)
    assert wire.said() == b""
    return connection, wire


@pytest.mark.parametrize("refuse", [False, True])
def test_who_waits_is_greeted(refuse: bool, journal: Journal) -> None:
    port = slow_port(refuse)
    connection, wire = arrive(port)
    port.reactor.advance(DELAY - 0.01)
    assert wire.said() == b""
    port.reactor.advance(0.01)
    assert wire.said() == port.greeting
    connection.dataReceived(b"EHLO c.example\r\nQUIT\r\n")
    assert wire.disconnecting and journal.lines() == []
    connection.connectionLost(LOST)
    assert port.is_clean


def test_who_does_not_is_noted_and_served_in_order(journal: Journal) -> None:
    port = slow_port()
    connection, wire = arrive(port)
    connection.dataReceived(b"EHLO c.exa")
    assert wire.producerState == "paused", "no more is read than that"
    connection.dataReceived(b"mple\r\nNOOP\r\n")
    port.reactor.advance(DELAY)
    said = wire.said()
    assert said.startswith(port.greeting) and said.endswith(b"\r\n250 2.0.0 Ok\r\n")
    assert wire.producerState == "producing"
    assert journal.lines("smtp.early_talkers") == [f"early talker 192.0.2.1: {EARLY}"]
    assert len(journal.lines()) == 1
    connection.connectionLost(LOST)
    assert port.is_clean


def test_who_does_not_is_refused_if_that_is_wanted(journal: Journal) -> None:
    """After the delay: to speak early makes nothing faster. Nothing that was said is run."""
    port = slow_port(refuse=True)
    connection, wire = arrive(port)
    connection.dataReceived(b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
    port.reactor.advance(DELAY - 0.01)
    assert wire.said() == b""
    port.reactor.advance(0.01)
    said = wire.said()
    assert said.startswith(b"554 5.5.1 ") and said.count(b"\r\n") == 1
    assert wire.disconnecting
    connection.dataReceived(b"QUIT\r\n")
    assert wire.said() == b"" and port.spool.messages == []
    assert journal.lines("smtp.early_talkers") == [f"rejected 192.0.2.1: {EARLY}"]
    connection.connectionLost(LOST)
    assert port.is_clean


def test_exempt_clients_are_greeted_at_once(journal: Journal) -> None:
    port = slow_port(True, only_limits(exempt=(ipaddress.ip_network("192.0.2.0/24"),)))
    connection, wire = connect(port.factory)
    assert wire.said() == port.greeting
    connection.connectionLost(LOST)
    assert port.is_clean and journal.lines() == []


def test_without_a_delay_everybody_is_greeted_at_once() -> None:
    port = SMTPPort()
    connection, wire = connect(port.factory)
    assert wire.said() == port.greeting
    connection.connectionLost(LOST)
    assert port.is_clean


@pytest.mark.parametrize("early", [False, True])
def test_who_hangs_up_while_it_waits_leaves_nothing(early: bool, journal: Journal) -> None:
    port = slow_port()
    connection, wire = arrive(port)
    if early:
        connection.dataReceived(b"EHLO c.example\r\n")
    connection.connectionLost(LOST)
    assert port.is_clean
    port.reactor.advance(DELAY)
    assert wire.said() == b"" and journal.lines() == []


def test_a_client_that_sends_all_it_ever_will_at_once_is_served() -> None:
    port = slow_port()
    connection, wire = arrive(port)
    connection.dataReceived(b"NOOP\r\nQUIT\r\n")
    connection.readConnectionLost()
    port.reactor.advance(DELAY)
    greeting, noop, bye = wire.said().splitlines()
    assert greeting.startswith(b"220 ") and noop.startswith(b"250 ") and bye.startswith(b"221 ")
    assert wire.disconnecting
    connection.connectionLost(LOST)
    assert port.is_clean


@pytest.mark.parametrize("early", [False, True])
def test_a_stop_does_not_wait_for_greetings(early: bool) -> None:
    port = SMTPPort(settings={"greeting_delay": 60.0})
    connection, wire = arrive(port)
    if early:
        connection.dataReceived(b"EHLO c.example\r\n")
    done = port.stop(5.0)
    port.reactor.advance(5)
    assert wire.said().startswith(b"421 4.3.2 ") and wire.disconnecting
    connection.connectionLost(LOST)
    assert done == [None] and port.is_clean


def test_clients_that_wait_are_counted() -> None:
    port = slow_port(limits=only_limits(connections_per_address=1))
    connection, _ = arrive(port)
    other, wire = connect(port.factory)
    assert wire.said().startswith(b"421 4.7.0 ") and wire.disconnecting
    other.connectionLost(LOST)
    connection.connectionLost(LOST)
    assert port.is_clean
