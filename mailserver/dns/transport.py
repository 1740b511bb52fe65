"""Sends a query to one DNS server and receives its reply, by UDP, and by TCP where that is necessary.

Against forged replies (RFC 5452) each query has a socket of its own, with a random port, that receives only
from the server. A datagram that is no reply to the query may be an attempt at that, so the query is repeated
by TCP.
"""

from collections.abc import Callable
from socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_NONBLOCK, socket
from typing import cast

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IReadDescriptor, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

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


@implementer(IReadDescriptor)
class Datagrams:
    """Sends one query by UDP and receives its reply; None if TCP is needed.

    A port of Twisted would log its start and its end for each query. It would also wait in vain for a server
    that refuses the query: with epoll the reactor reports that as the end of the socket.
    """

    def __init__(self, reactor: IReactor, server: DnsServer, wire: bytes, read: ReadReply) -> None:
        """Raises ``OSError`` if the query cannot be sent."""
        self._reactor = reactor
        self._wire = wire
        self._read = read
        self._strays = 0
        self.reply: Deferred[DNSReply | None] = Deferred()
        family = AF_INET6 if server.address.version == 6 else AF_INET
        self._socket = socket(family, SOCK_DGRAM | SOCK_NONBLOCK)
        try:
            # The system chooses a random port, and drops what others send to it.
            self._socket.connect((str(server.address), server.port))
            self._socket.send(wire)
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    def close(self) -> None:
        self._reactor.removeReader(self)
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return type(self).__name__

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has found an error of the socket, or stops."""
        self.doRead()
        self.close()

    def doRead(self) -> None:
        """Read one datagram."""
        if self.reply.called:
            return
        try:
            datagram = self._socket.recv(MAX_DATAGRAM)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            self.reply.errback(NoDNSReply("refused the query"))
        except OSError as error:
            self.reply.errback(error)
        else:
            self._received(datagram)

    def _received(self, datagram: bytes) -> None:
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


class _StreamFactory(Factory):
    noisy = False

    def __init__(self, wire: bytes, read: ReadReply) -> None:
        self._stream = _Stream(wire, read)

    def buildProtocol(self, addr: object) -> _Stream:
        return self._stream


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
        except (OSError, ConnectError) as error:
            cause = getattr(error, "socketError", error)
            reason = f"cannot be reached ({getattr(cause, 'strerror', None) or cause})"
        # An error of this system comes at once. A later attempt may do better; and if many lookups wait for
        # a socket, each would fail inside the one before, until the stack is full.
        await deferLater(self._reactor, PAUSE)
        raise NoDNSReply(reason)

    async def _by_udp(
        self, server: DnsServer, wire: bytes, read: ReadReply, timeout: float
    ) -> DNSReply | None:
        datagrams = Datagrams(self._reactor, server, wire, read)
        try:
            return await datagrams.reply.addTimeout(timeout, self._reactor)
        finally:
            datagrams.close()

    async def _by_tcp(self, server: DnsServer, wire: bytes, read: ReadReply, timeout: float) -> DNSReply:
        kind = TCP6ClientEndpoint if server.address.version == 6 else TCP4ClientEndpoint
        endpoint = kind(self._reactor, str(server.address), server.port, timeout)
        protocol = cast(_Stream, await endpoint.connect(_StreamFactory(wire, read)))
        try:
            return await protocol.reply.addTimeout(timeout, self._reactor)
        finally:
            cast(ITCPTransport, protocol.transport).abortConnection()
