"""Sends a query to one DNS server and receives its reply, by UDP, and by TCP where that is necessary.

Against forged replies (RFC 5452) each query has a socket of its own, with a random port, that receives only
from the server. A datagram that is no reply to the query may be an attempt at that, so the query is repeated
by TCP.
"""

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import ITCPTransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.dns.reply import DNSReply
from mailserver.errors import MailserverError
from mailserver.interfaces import IReactor

MAX_DATAGRAM = 4096  # octets; the query asks for less
MAX_STRAYS = 10  # datagrams with another id
PAUSE = 0.1  # seconds
ID = slice(0, 2)

ReadReply = Callable[[bytes], DNSReply]


class NoDNSReply(MailserverError):
    """A server has not sent a valid reply; the text says what it has done, without its address."""


class _Datagrams(DatagramProtocol):
    """Receives the reply to one query; None if TCP is needed."""

    noisy = False

    def __init__(self, wire: bytes, read: ReadReply) -> None:
        self._wire = wire
        self._read = read
        self._strays = 0
        self.reply: Deferred[DNSReply | None] = Deferred()

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        if self.reply.called:
            return
        if datagram[ID] != self._wire[ID]:
            self._strays += 1
            if self._strays > MAX_STRAYS:
                self.reply.callback(None)
            return
        try:
            reply = self._read(datagram)
        except ValueError:
            self.reply.callback(None)
        else:
            self.reply.callback(None if reply.truncated else reply)

    def connectionRefused(self) -> None:
        if not self.reply.called:
            self.reply.errback(NoDNSReply("refused the query"))


class _Stream(Int16StringReceiver):
    """Sends one query by TCP (RFC 7766) and receives its reply."""

    def __init__(self, wire: bytes, read: ReadReply) -> None:
        self._wire = wire
        self._read = read
        self.reply: Deferred[DNSReply] = Deferred()

    def connectionMade(self) -> None:
        self.sendString(self._wire)  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        if self.reply.called:
            return
        try:
            if string[ID] != self._wire[ID]:
                raise ValueError("it has another id")
            reply = self._read(string)
            if reply.truncated:
                raise ValueError("it is truncated")
        except ValueError as error:
            self.reply.errback(NoDNSReply(f"sent an invalid reply: {error}"))
        else:
            self.reply.callback(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.reply.called:
            self.reply.errback(NoDNSReply("closed the connection"))


class DNSTransport:
    """Exchanges messages with DNS servers."""

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor

    async def ask(self, server: DnsServer, wire: bytes, read: ReadReply, timeout: float) -> DNSReply:
        """Send the query ``wire``, and return what ``read`` makes of the reply.

        ``read`` raises ``ValueError`` for an invalid reply. ``timeout`` is in seconds, for UDP and TCP each.
        Raises :class:`NoDNSReply`.
        """
        try:
            reply = await self._by_udp(server, wire, read, timeout)
            return reply if reply is not None else await self._by_tcp(server, wire, read, timeout)
        except (TimeoutError, ConnectTimeout):
            raise NoDNSReply(f"did not reply within {timeout:.3g} seconds") from None
        except (OSError, ConnectError, CannotListenError) as error:
            cause = getattr(error, "socketError", error)
            reason = f"cannot be reached ({getattr(cause, 'strerror', None) or cause})"
        # An error of this system comes at once. A later attempt may do better; and if many lookups wait for
        # a socket, each would fail inside the one before, until the stack is full.
        await deferLater(self._reactor, PAUSE)
        raise NoDNSReply(reason)

    async def _by_udp(
        self, server: DnsServer, wire: bytes, read: ReadReply, timeout: float
    ) -> DNSReply | None:
        protocol = _Datagrams(wire, read)
        interface = "::" if server.address.version == 6 else "0.0.0.0"
        port = self._reactor.listenUDP(0, protocol, interface, MAX_DATAGRAM)
        try:
            transport = cast(IUDPTransport, protocol.transport)
            address = (str(server.address), server.port)
            transport.connect(*address)
            transport.write(wire, address)
            return await protocol.reply.addTimeout(timeout, self._reactor)
        finally:
            port.stopListening()

    async def _by_tcp(self, server: DnsServer, wire: bytes, read: ReadReply, timeout: float) -> DNSReply:
        kind = TCP6ClientEndpoint if server.address.version == 6 else TCP4ClientEndpoint
        protocol = _Stream(wire, read)
        await connectProtocol(kind(self._reactor, str(server.address), server.port, timeout), protocol)
        try:
            return await protocol.reply.addTimeout(timeout, self._reactor)
        finally:
            cast(ITCPTransport, protocol.transport).abortConnection()
