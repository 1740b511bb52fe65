"""Writing past a transport's buffer: nothing lost, nothing out of order, nothing in the clear."""

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from mailserver.net.wire import TransportWriter
from tests.support.fakes import stand_in
from tests.support.net.fakes import Wire
from tests.support.reactor import FakeReactor

MUCH = 8 * 1024 * 1024  # octets; more than a socket takes


class Watched(FakeReactor):
    """Remembers who waits for room to write."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[object] = []

    def addWriter(self, writer: object) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeReader(self, reader: object) -> None:
        """Nobody reads here."""


class Closed(Protocol):
    """Counts the ends of its connection, which must be orderly."""

    ends = 0

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        reason.trap(ConnectionDone)
        self.ends += 1


class Pair:
    def __init__(self) -> None:
        self.ours, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        self.reactor = Watched()
        self.protocol = Closed()
        self.transport = Connection(self.ours, self.protocol, stand_in(self.reactor))
        self.transport.connected = True
        self.writer = TransportWriter(self.transport)

    def read(self) -> bytes:
        """All that the peer gets until the transport has nothing more to send."""
        received = []
        while True:
            try:
                received.append(self.peer.recv(1 << 20))
            except BlockingIOError:
                if not self.reactor.writers:
                    return b"".join(received)
                assert self.transport.doWrite() is None


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.peer.close()
    made.ours.close()


def test_a_reply_is_sent_at_once(pair: Pair) -> None:
    pair.writer.write(b"250 2.0.0 Ok\r\n")
    assert pair.peer.recv(100) == b"250 2.0.0 Ok\r\n"
    assert pair.reactor.writers == []


def test_a_connection_without_waiting_octets_is_closed_soon(pair: Pair) -> None:
    pair.writer.write(b"221 2.0.0 closing\r\n")
    pair.writer.close()
    assert pair.protocol.ends == 0, "not in the middle of the caller's work"
    pair.reactor.advance(0)
    assert pair.protocol.ends == 1 and not pair.transport.connected
    assert pair.reactor.writers == []
    assert pair.peer.recv(100) == b"221 2.0.0 closing\r\n"
    assert pair.peer.recv(100) == b""


def test_a_connection_that_is_lost_before_is_not_closed_again(pair: Pair) -> None:
    pair.writer.close()
    pair.transport.connectionLost(connectionDone)
    pair.reactor.advance(0)
    assert pair.protocol.ends == 1


def test_a_close_waits_for_what_the_socket_does_not_take(pair: Pair) -> None:
    large = bytes(range(256)) * (MUCH // 256)
    pair.writer.write(large)
    pair.writer.close()
    pair.reactor.advance(0)
    assert pair.protocol.ends == 0
    received = []
    while pair.transport.connected:
        received.append(pair.peer.recv(1 << 20))
        if (why := pair.transport.doWrite()) is not None:
            pair.transport.connectionLost(Failure(why))
    pair.peer.setblocking(True)
    while octets := pair.peer.recv(1 << 20):
        received.append(octets)
    assert b"".join(received) == large
    assert pair.protocol.ends == 1


def test_what_the_socket_does_not_take_goes_before_what_follows(pair: Pair) -> None:
    large = bytes(range(256)) * (MUCH // 256)
    pair.writer.write(b"first")
    pair.writer.write(large)
    assert pair.reactor.writers == [pair.transport]
    pair.writer.write(b"last")
    assert pair.read() == b"first" + large + b"last"
    pair.writer.write(b"more")
    assert pair.read() == b"more"


def test_a_drained_socket_is_written_to_directly_again(pair: Pair) -> None:
    large = bytes(range(256)) * (MUCH // 256)
    pair.writer.write(large)
    assert pair.read() == large
    pair.writer.drained()
    pair.writer.write(b"250 2.0.0 Ok\r\n")
    assert pair.peer.recv(100) == b"250 2.0.0 Ok\r\n"
    assert pair.reactor.writers == []


def test_a_full_socket_takes_nothing(pair: Pair) -> None:
    filled = 0
    with pytest.raises(BlockingIOError):
        while True:
            filled += pair.transport.socket.send(b"x" * 65536)
    pair.writer.write(b"last")
    assert pair.read() == b"x" * filled + b"last"


def test_a_broken_connection_is_told_by_the_transport(pair: Pair) -> None:
    pair.peer.close()
    pair.writer.write(b"250 2.0.0 Ok\r\n")
    assert pair.reactor.writers == [pair.transport]
    assert isinstance(pair.transport.doWrite(), Exception)


def test_nothing_passes_by_tls(pair: Pair) -> None:
    said: list[bytes] = []

    class Layer(Protocol):
        def write(self, data: bytes) -> None:
            said.append(data)

    pair.transport.protocol = Layer()
    pair.transport.TLS = True
    pair.writer.write(b"secret")
    assert said == [b"secret"]
    assert pair.read() == b""


def test_a_transport_of_another_kind_is_written_to_as_ever() -> None:
    wire = Wire()
    TransportWriter(stand_in(wire)).write(b"250 2.0.0 Ok\r\n")
    assert wire.said() == b"250 2.0.0 Ok\r\n"
