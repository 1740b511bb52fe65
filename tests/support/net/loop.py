"""Real transports of Twisted on a clock, turned by hand: for TLS, half-closing and back-pressure.

The server's end is a transport as a port makes it, on one socket of a pair; the client's end is the other
socket, with the TLS of the standard library on top once that is asked for.
"""

import contextlib
import select
import socket
import ssl
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.tcp import Server
from twisted.protocols import tls
from twisted.python.failure import Failure

from mailserver.net.factory import ConnectionFactory
from tests.support.reactor import FakeReactor

MUCH = 1 << 20  # octets of one read


class Loop(FakeReactor):
    """Watches sockets, too; nothing is read, written or called but in :meth:`turn`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._readers: set[Any] = set()
        self._writers: set[Any] = set()
        self.addReader, self.removeReader = self._readers.add, self._readers.discard
        self.addWriter, self.removeWriter = self._writers.add, self._writers.discard
        # TLS gathers small writes until the next round, and finds its clock there.
        monkeypatch.setattr(tls, "_get_default_clock", lambda: self)

    @property
    def idle(self) -> bool:
        """Nobody watches a socket, and nothing is to be called."""
        return not (self._readers or self._writers or self.getDelayedCalls())

    def turn(self) -> None:
        """Go round until nothing moves any more."""
        while True:
            self.advance(0)
            readable, writable, _ = select.select(self._readers, self._writers, [], 0)
            if not readable and not writable:
                return
            for one in readable:
                if one in self._readers:
                    self._done(one, one.doRead(), reading=True)
            for one in writable:
                if one in self._writers:
                    self._done(one, one.doWrite(), reading=False)

    def wait(self, seconds: float) -> None:
        """Let time pass, and what comes of it happen."""
        self.advance(seconds)
        self.turn()

    def _done(self, one: Any, why: Any, *, reading: bool) -> None:
        if not why:
            return
        self.removeReader(one)
        if reading and isinstance(why, ConnectionDone):
            one.readConnectionLost(Failure(why))
            return
        self.removeWriter(one)
        one.connectionLost(Failure(why))


class _Transport(Server):
    """A pair of sockets knows no TCP."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to do."""


class Client:
    """The client's end of a connection."""

    def __init__(self, loop: Loop, factory: ConnectionFactory, host: str = "192.0.2.1") -> None:
        self.loop = loop
        ours, self.socket = socket.socketpair()
        ours.setblocking(False)
        self.socket.setblocking(False)
        self.lost = False
        self._tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        protocol = factory.buildProtocol(IPv4Address("TCP", host, 40000))
        self.transport = _Transport(ours, protocol, (host, 40000), None, 1, loop)  # type: ignore[arg-type]
        protocol.makeConnection(self.transport)
        loop.turn()

    def raw(self, octets: bytes) -> None:
        """Send octets as they are, if anybody is there to take them."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(octets)
        self.loop.turn()

    def send(self, octets: bytes) -> None:
        """Send octets, under TLS if it is there, as far as the server takes them."""
        if self._tls is None:
            self.raw(octets)
        else:
            self._tls.write(octets)
            self.raw(self._out.read())

    def read_raw(self, most: int = MUCH) -> bytes:
        """What has come, as it is; ``lost`` is set at the end."""
        try:
            octets = self.socket.recv(most)
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            octets = b""
        self.lost = not octets
        self.loop.turn()
        return octets

    def read(self) -> bytes:
        """All that the server has to say for now."""
        said = b""
        while octets := self.read_raw():
            said += octets if self._tls is None else self._decrypted(octets)
        return said

    def ask(self, octets: bytes) -> bytes:
        """Send, and read."""
        self.send(octets)
        return self.read()

    def hello(self, context: ssl.SSLContext) -> bytes:
        """The first flight of a handshake, not yet sent."""
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=None)
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._out.read()

    def shake_hands(self, context: ssl.SSLContext) -> bytes:
        """A whole handshake; what the server said right behind it. Raises ``ssl.SSLError``."""
        return self.go_on(self.hello(context))

    def go_on(self, flight: bytes) -> bytes:
        """As :meth:`shake_hands`, from our first flight on."""
        assert self._tls is not None
        self.raw(flight)
        while True:
            answer = self.read_raw()
            self._in.write(answer)
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                assert answer, "the server has hung up" if self.lost else "the server says nothing"
                self.raw(self._out.read())
                continue
            self.raw(self._out.read())
            return self._decrypted(b"") + self.read()

    def close_tls(self) -> None:
        """Say, within TLS, that nothing more will come."""
        assert self._tls is not None
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.unwrap()
        self.raw(self._out.read())

    def end_input(self) -> None:
        """Send nothing more; go on reading."""
        self.socket.shutdown(socket.SHUT_WR)
        self.loop.turn()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
        self.loop.turn()

    def _decrypted(self, octets: bytes) -> bytes:
        assert self._tls is not None
        self._in.write(octets)
        said = b""
        try:
            while data := self._tls.read(MUCH):
                said += data
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return said
