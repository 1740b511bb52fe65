"""Connections to programs that the configuration names, as streams of octets with time limits."""

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

MAX_UNREAD = 256 * 1024  # octets that are kept for the next ``read``


@implementer(IPushProducer)
class ByteStream(Protocol):
    """One connection. ``is_open``: both sides may still send."""

    def __init__(self, reactor: Any, seconds: float) -> None:
        """``seconds`` is the time limit of each ``write`` and ``read``."""
        self.is_open = False
        self._reactor = reactor
        self._seconds = seconds
        self._unread: list[bytes] = []
        self._unread_octets = 0
        self._reading: Deferred[bytes] | None = None
        self._writing: Deferred[None] | None = None
        self._is_full = False
        self._lost: OSError | None = None
        self._forced: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.is_open = True
        self._wire.registerProducer(self, True)

    @property
    def _wire(self) -> Any:
        return self.transport

    def write(self, data: bytes) -> "Deferred[None] | None":
        """Send octets. Returns None, or a Deferred to wait for before the next call. Raises or fails with
        ``OSError`` if the connection is lost, or the other side does not take them in time."""
        if self._lost is not None:
            raise self._lost
        self._wire.write(data)
        if not self._is_full:
            return None
        waiting: Deferred[None] = Deferred()
        self._writing = waiting
        return self._limited(waiting, "does not take data")

    def read(self) -> "Deferred[bytes]":
        """The next octets. Fails with ``OSError`` if none come in time, or the connection is lost."""
        if self._unread:
            data = b"".join(self._unread)
            self._unread, self._unread_octets = [], 0
            self._wire.resumeProducing()
            return succeed(data)
        waiting: Deferred[bytes] = Deferred()
        if self._lost is not None:
            waiting.errback(self._lost)
            return waiting
        self._reading = waiting
        return self._limited(waiting, "no answer")

    def close(self) -> None:
        """Close the connection when all octets are sent. May be called more than once."""
        if self.is_open:
            self.is_open = False
            self._wire.unregisterProducer()
            self._wire.loseConnection()
            self._forced = self._reactor.callLater(self._seconds, self._wire.abortConnection)

    def _limited(self, waiting: "Deferred[Any]", what: str) -> "Deferred[Any]":
        waiting.addTimeout(
            self._seconds, self._reactor, onTimeoutCancel=lambda *_: Failure(TimeoutError(self._late(what)))
        )
        return waiting

    def _late(self, what: str) -> str:
        return f"{what} within {self._seconds:g} seconds"

    # ------------------------------------------------------------ Twisted

    def dataReceived(self, data: bytes) -> None:
        if self._reading is not None and not self._reading.called:
            waiting, self._reading = self._reading, None
            waiting.callback(data)
            return
        self._unread.append(data)
        self._unread_octets += len(data)
        if self._unread_octets > MAX_UNREAD:
            self._wire.pauseProducing()

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """The transport takes octets again."""
        self._is_full = False
        waiting, self._writing = self._writing, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_open = False
        self._lost = ConnectionError("the connection was closed")
        for waiting in (self._reading, self._writing):
            if waiting is not None and not waiting.called:
                waiting.errback(self._lost)
        self._reading = self._writing = None
        if self._forced is not None and self._forced.active():
            self._forced.cancel()


class _StreamFactory(Factory):
    noisy = False

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor = reactor
        self._seconds = seconds

    def buildProtocol(self, addr: IAddress | None) -> ByteStream:
        return ByteStream(self._reactor, self._seconds)


def connect_stream(reactor: Any, destination: str, seconds: float) -> "Deferred[ByteStream]":
    """Connect to "unix:/path", "host:port" or "[IPv6]:port", within so many ``seconds``; they are the limit
    of each later step, too. Fails with ``OSError``."""
    return Deferred.fromCoroutine(_connect(reactor, destination, seconds))


def _kind(host: str) -> Callable[..., IStreamClientEndpoint]:
    if isIPAddress(host):
        return TCP4ClientEndpoint
    return TCP6ClientEndpoint if isIPv6Address(host) else HostnameEndpoint


async def _connect(reactor: Any, destination: str, seconds: float) -> ByteStream:
    endpoint: IStreamClientEndpoint
    if destination.startswith("unix:"):
        endpoint = UNIXClientEndpoint(reactor, destination.removeprefix("unix:"), seconds)
    else:
        host, _, port = destination.rpartition(":")
        host = host.strip("[]")
        endpoint = _kind(host)(reactor, host, int(port), seconds)
    try:
        stream: Any = await endpoint.connect(_StreamFactory(reactor, seconds))
    except ConnectError as error:
        why = os.strerror(error.osError).lower() if isinstance(error.osError, int) else str(error)
        raise ConnectionError(f"no connection to {destination}: {why}") from error
    return stream  # type: ignore[no-any-return]
