"""The factory of one listener: makes its connections, and closes them when the server stops."""

from collections import Counter

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from mailserver.interfaces import IReactor
from mailserver.net.connection import Connection
from mailserver.net.listener_context import ListenerContext
from mailserver.net.proxied import ProxiedConnection


def client_ip(address: object) -> str:
    """The IP address of a client, "" if it has none. An IPv4-mapped address becomes an IPv4 address."""
    host: str = getattr(address, "host", None) or ""
    return host.removeprefix("::ffff:") if "." in host else host


class ConnectionFactory(Factory):
    """Base class. A subclass makes the connections of its protocol.

    ``ended`` has the number of connections that are closed, by their TLS: version and cipher, "" without.
    """

    noisy = False

    def __init__(self, context: ListenerContext, reactor: IReactor) -> None:
        self.context = context
        self.reactor = reactor
        self.connections: set[Connection] = set()
        self.before_header: set[ProxiedConnection] = set()
        self.stopping = False
        self.ended: Counter[str] = Counter()
        self._all_closed: Deferred[None] | None = None

    def connection(self, client_ip: str) -> Connection:
        """Make the connection of a client."""
        raise NotImplementedError

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        ip = client_ip(addr)
        if self.context.is_proxy(ip):
            return ProxiedConnection(ip, self.connection, self.before_header, self.reactor)
        return self.connection(ip)

    def stop(self, grace: float) -> "Deferred[None]":
        """Close idle connections now, and busy ones when they are done or after ``grace`` seconds.

        Fires when the last one is closed. Stop the port first.
        """
        self.stopping = True
        for proxied in list(self.before_header):
            proxied.abort()
        for connection in list(self.connections):
            connection.stop()
        if not self.connections:
            return succeed(None)
        self._all_closed = Deferred()
        self._deadline = self.reactor.callLater(grace, self._stop_now)
        return self._all_closed

    def _stop_now(self) -> None:
        for connection in list(self.connections):
            connection.stop_now()
        # A client that does not read its last reply has one second.
        self._deadline = self.reactor.callLater(1, self._abort)

    def _abort(self) -> None:
        for connection in list(self.connections):
            connection.wire.abortConnection()

    def closed(self, tls: str) -> None:
        """Called by each connection when it is closed, with the description of its TLS."""
        self.ended[tls] += 1
        if self._all_closed is not None and not self.connections:
            if self._deadline.active():
                self._deadline.cancel()
            done, self._all_closed = self._all_closed, None
            done.callback(None)
