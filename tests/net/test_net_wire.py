"""Writing past a transport's buffer: nothing lost, nothing out of order, nothing in the clear."""

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection

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
        self.writers.remove(writer)


class Pair:
    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        self.reactor = Watched()
        self.transport = Connection(ours, Protocol(), stand_in(self.reactor))
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
    made.transport.socket.close()


def test_a_reply_is_sent_at_once(pair: Pair) -> None:
    pair.writer.write(b"250 2.0.0 Ok\r\n")
    assert pair.peer.recv(100) == b"250 2.0.0 Ok\r\n"
    assert pair.reactor.writers == []


def test_what_the_socket_does_not_take_goes_before_what_follows(pair: Pair) -> None:
    large = bytes(range(256)) * (MUCH // 256)
    pair.writer.write(b"first")
    pair.writer.write(large)
    assert pair.reactor.writers == [pair.transport]
    pair.writer.write(b"last")
    assert pair.read() == b"first" + large + b"last"
    pair.writer.write(b"more")
    assert pair.read() == b"more"


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
