"""Slices of work in turns: who runs at once, who waits, and how long. The clock counts, see ``turns``."""

from collections.abc import Callable

import pytest

from mailserver.config.keys.limits import LimitsSection
from mailserver.mail.rate import Rate
from mailserver.net.connection import Connection
from mailserver.net.run_queue import SLICE, TURN, RunQueue
from tests.support.net.costly_reactor import COST, CostlyReactor
from tests.support.net.fakes import LOST, POP3Port, SMTPPort, Wire, connect
from tests.support.net.limits import NO_LIMITS, only_limits
from tests.support.runs import rest_slow

READ = 64 * 1024  # octets of one read of a transport
LOOKS = 4 * COST  # of the queue itself, around a slice


def work(name: str, slices: int, order: list[str], reactor: CostlyReactor) -> Callable[[float], bool]:
    """Something that takes so many slices."""
    left = [slices]

    def one(now: float) -> bool:
        order.append(name)
        while reactor.seconds() < now + SLICE:
            pass
        left[0] -= 1
        return left[0] > 0

    return one


SLICES = {"a": 3, "b": 1, "c": 2}


def test_a_slice_at_once_and_the_rest_in_turns() -> None:
    reactor, order = CostlyReactor(), list[str]()
    queue = RunQueue(reactor)
    waits = {name: queue.run(work(name, slices, order, reactor)) for name, slices in SLICES.items()}
    assert waits == {"a": True, "b": False, "c": True}
    assert "".join(order) == "abc"
    reactor.turn()
    assert "".join(order) == "abcaca"
    reactor.turn()
    assert "".join(order) == "abcaca" and not reactor.getDelayedCalls()


def test_the_sockets_are_looked_at_between_turns() -> None:
    reactor, order = CostlyReactor(), list[str]()
    queue = RunQueue(reactor)
    for name in range(100):
        assert queue.run(work(str(name), 50, order, reactor)), "one that comes late in a turn waits, too"
    assert reactor.seconds() < TURN + SLICE + 300 * LOOKS
    for _ in range(200):
        began, before = reactor.seconds(), len(order)
        reactor.turn()
        assert len(order) > before
        assert reactor.seconds() - began <= TURN + SLICE + 20 * COST
    served = [order.count(str(name)) for name in range(100)]
    assert max(served) - min(served) <= 2, "nobody goes before the others"


# ------------------------------------------------------------ connections

HELLO = b"EHLO c.example\r\n"
MAIL = HELLO + b"MAIL FROM:<a@b.example>\r\n"
FLOODS: dict[str, tuple[type[SMTPPort] | type[POP3Port], bytes, bytes]] = {
    "NOOP": (SMTPPort, b"", b"NOOP\r\n"),
    "AUTH": (SMTPPort, HELLO, b"AUTH PLAIN =\r\n"),
    "RETR": (POP3Port, b"USER alice\r\nPASS secret\r\n", b"RETR 9\r\n"),
    "RCPT, unknown": (SMTPPort, MAIL, b"RCPT TO:<nobody@example.org>\r\n"),
    "RCPT": (SMTPPort, MAIL, b"RCPT TO:<bob@example.org>\r\n"),
    "RSET": (SMTPPort, b"", b"RSET\r\n"),
    "HELP": (SMTPPort, b"", b"HELP\r\n"),
    "EHLO": (SMTPPort, b"", b"EHLO c.example\r\n"),
    "VRFY": (SMTPPort, HELLO, b"VRFY bob\r\n"),
    "MAIL, RSET": (SMTPPort, HELLO, b"MAIL FROM:<a@b.example>\r\nRSET\r\n"),
    "wrong": (SMTPPort, b"", b"WRONG\r\n"),
    "nothing": (SMTPPort, b"", b"\r\n"),
    "CAPA": (POP3Port, b"", b"CAPA\r\n"),
    "USER": (POP3Port, b"", b"USER alice\r\n"),
    "wrong in POP3": (POP3Port, b"", b"WRONG\r\n"),
    "STAT": (POP3Port, b"USER alice\r\nPASS secret\r\n", b"STAT\r\n"),
}


class Flooded:
    """A port, two ``others`` that have said nothing yet, and ``clients`` that have each sent as much as is
    read at once, in one round of the reactor."""

    def __init__(self, flood: str, clients: int, limits: LimitsSection | None = None) -> None:
        kind, before, command = FLOODS[flood]
        self.reactor = CostlyReactor()
        settings: dict[str, object] = {"max_errors": 0, "max_login_failures": 0}
        if kind is SMTPPort:
            settings["verify"] = "always"
        self.port = kind(self.reactor, limits or NO_LIMITS, settings)
        self.others = [self.newcomer(b"", f"198.51.100.{number}") for number in range(2)]
        self.clients = [self.newcomer(before, f"192.0.2.{number}") for number in range(clients)]
        self.count = READ // len(command)
        self.began = self.reactor.seconds()
        for connection, wire in self.clients:
            wire.clear()
            connection.dataReceived(command * self.count)

    def newcomer(self, first: bytes, host: str) -> tuple[Connection, Wire]:
        """Another client, that has been greeted."""
        connection, wire = connect(self.port.factory, host)
        while not wire.said():
            self.reactor.turn()
        connection.dataReceived(first)
        self.reactor.turn()
        return connection, wire

    def leave(self) -> None:
        """The others leave."""
        for connection, _ in self.others:
            connection.connectionLost(LOST)
        self.reactor.turn()


@pytest.mark.parametrize("flood", rest_slow(FLOODS, first=4))
def test_a_newcomer_does_not_wait_for_what_50_others_have_sent(flood: str) -> None:
    """It speaks in the same round of the reactor, after all of them: it waits for a slice of each at most."""
    flooded = Flooded(flood, 50)
    (connection, wire), (late, late_wire) = flooded.others
    connection.dataReceived(b"NOOP\r\n")
    while not (said := wire.said()):
        flooded.reactor.turn()
    assert said.startswith((b"250 2.0.0", b"-ERR"))
    assert flooded.reactor.seconds() - flooded.began < 51 * 0.001
    for waiting, paused in flooded.clients:
        if waiting._queued and paused.producerState != "paused":
            waiting.dataReceived(b"NOOP\r\n")
            assert paused.producerState == "paused", "a connection that waits brings one read at most"
    late.dataReceived(b"NOOP\r\n")
    assert late_wire.said().startswith((b"250 2.0.0", b"-ERR")), "one round later: at once"


@pytest.mark.parametrize("flood", rest_slow(FLOODS, first=4))
def test_all_are_answered_in_order(flood: str) -> None:
    flooded = Flooded(flood, 2)
    for connection, _ in flooded.clients:
        connection.dataReceived(b"QUIT\r\n")
    while not all(wire.disconnecting for _, wire in flooded.clients):
        flooded.reactor.turn()
    for connection, wire in flooded.clients:
        lines = wire.said().splitlines()
        assert lines[-1].startswith((b"221 ", b"+OK ")) and len(lines) > flooded.count
        connection.connectionLost(LOST)
    flooded.leave()
    assert flooded.port.is_clean


def test_clients_that_leave_the_queue_leave_nothing() -> None:
    flooded = Flooded("NOOP", 5)
    for connection, wire in flooded.clients:
        wire.clear()
        connection.connectionLost(LOST)
    flooded.leave()
    assert not any(wire.said() for _, wire in flooded.clients)
    assert flooded.port.is_clean


def test_a_stop_does_not_wait_for_a_flood() -> None:
    flooded = Flooded("NOOP", 5)
    done = flooded.port.stop(60.0)
    flooded.reactor.turn()
    for connection, wire in flooded.clients:
        assert wire.said().splitlines()[-1].startswith(b"421 4.3.2 ") and wire.disconnecting
        connection.connectionLost(LOST)
    flooded.leave()
    assert done == [None] and flooded.port.is_clean


def test_a_client_that_closes_its_half_behind_a_flood_gets_all_its_replies() -> None:
    flooded = Flooded("NOOP", 1)
    [(connection, wire)] = flooded.clients
    connection.readConnectionLost()
    assert not wire.disconnecting
    while not wire.disconnecting:
        flooded.reactor.turn()
    assert wire.said().count(b"\r\n") == flooded.count


@pytest.mark.parametrize("flood", ["NOOP", "RCPT, unknown", "CAPA", "HELP"])
def test_commands_are_counted_before_many_are_answered(flood: str) -> None:
    flooded = Flooded(flood, 1, only_limits(commands_per_address=Rate(200, 60.0)))
    [(_, wire)] = flooded.clients
    while not wire.disconnecting:
        flooded.reactor.turn()
    said = wire.said()
    assert said.splitlines()[-1].startswith((b"421 4.7.0 ", b"-ERR [SYS/TEMP] "))
    ends = {"CAPA": b"\r\n.\r\n", "HELP": b"\r\n214 "}.get(flood, b"\r\n")
    assert said.count(ends) <= 300
