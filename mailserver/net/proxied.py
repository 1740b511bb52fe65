"""Connections through a proxy: the PROXY header comes first, then the session of the client."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mailserver.events.base import report
from mailserver.events.connections import ProxyRejected
from mailserver.net.connection import Connection
from mailserver.net.wire import IStreamTransport
from mailserver.wire.proxy import Header, ProxyHeader

HEADER_TIMEOUT = 10.0  # seconds; proxies send the header at once


class ProxiedConnection(Protocol):
    """Reads the header, then gives the transport to the connection of the client."""

    def __init__(
        self,
        proxy_ip: str,
        connection: Callable[[str], Connection],
        before_header: "set[ProxiedConnection]",
        reactor: IReactorTime,
    ) -> None:
        """``connection`` makes the connection for a client's IP address. ``before_header`` has the
        connections that wait for a header.
        """
        self._proxy_ip = proxy_ip
        self._connection = connection
        self._before_header = before_header
        self._reactor = reactor
        self._header = ProxyHeader()

    def connectionMade(self) -> None:
        self._before_header.add(self)
        self._timer = self._reactor.callLater(
            HEADER_TIMEOUT, self._drop, "no PROXY header within the time limit"
        )

    def dataReceived(self, data: bytes) -> None:
        found = self._header.feed(data)
        if found is Header.INCOMPLETE:
            return
        if isinstance(found, Header):
            self._drop("the connection does not begin with a PROXY header")
            return
        self._end()
        transport: Any = self.transport
        connection: Any = self._connection(found.source or self._proxy_ip)
        connection.proxy_ip = self._proxy_ip
        transport.protocol = connection
        connection.makeConnection(transport)
        if found.rest:
            # The connection, or the TLS that it has begun.
            transport.protocol.dataReceived(found.rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()

    def abort(self) -> None:
        """The server stops."""
        cast(IStreamTransport, self.transport).abortConnection()

    def _drop(self, reason: str) -> None:
        report(ProxyRejected(client=self._proxy_ip, reason=reason, rule="listen.proxies"))
        self.abort()

    def _end(self) -> None:
        self._before_header.discard(self)
        if self._timer.active():
            self._timer.cancel()
