"""The port of the fixture for HTTP: which requests may come in.

A browser must not be able to steer the fixture for a web page that somebody else has written. So the Host
field must be an IP address, localhost or a name that was allowed, against DNS rebinding, and so must the
Origin field if there is one.
"""

import ipaddress
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from mailserver.errors import CannotStart
from mailserver.http.exchange import HTTPAnswer, HTTPHead, HTTPProblem, HTTPRequest
from mailserver.http.listening import HTTPListening
from mailserver.testing.http.control import ControlledServers

MAX_BODY = 64 * 1024 * 1024  # octets


class ControlApplication:
    """Answers all requests."""

    def __init__(self, servers: ControlledServers, names: Collection[str]) -> None:
        """``names`` are allowed in the Host field, beside IP addresses and localhost."""
        self._servers = servers
        self._names = {name.lower() for name in names} | {"localhost"}

    def max_body(self, head: HTTPHead) -> int:
        """See :class:`~mailserver.http.exchange.HTTPApplication`."""
        return MAX_BODY

    async def answer(self, request: HTTPRequest) -> HTTPAnswer:
        """See :class:`~mailserver.http.exchange.HTTPApplication`."""
        head = request.head
        if head.field("host") is not None and not self._is_allowed(head.host):
            raise HTTPProblem(403, f'The host "{head.host}" is not allowed; --allow-host allows it.')
        origin = head.field("origin")
        if origin is not None and not self._is_allowed(_host_of(origin)):
            raise HTTPProblem(403, f'Web pages of "{origin}" may not use this server.')
        method = "GET" if head.method == "HEAD" else head.method
        return await self._servers.answer(method, head.target, head.query, request.body)

    def _is_allowed(self, name: str) -> bool:
        if name.rstrip(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def failed(self, head: HTTPHead, failure: Failure) -> HTTPAnswer:
        """See :class:`~mailserver.http.exchange.HTTPApplication`: the client gets the exception."""
        error: Any = failure.value
        trace = str(failure.getTraceback())
        return HTTPProblem(500, f"{type(error).__name__}: {error}", traceback=trace).answer

    def stop(self) -> None:
        """See :class:`~mailserver.http.exchange.HTTPApplication`: all connections are reset."""


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class ControlSite:
    """The port for HTTP. For the thread of the servers."""

    def __init__(self, reactor: Any, servers: ControlledServers, names: Collection[str] = ()) -> None:
        self._reactor = reactor
        self._factory = HTTPListening(ControlApplication(servers, names), reactor, old_clients=True)
        # Any: a port of Twisted has more than the interfaces say.
        self._port: Any = None

    def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen. Returns host and port. Raises CannotStart."""
        try:
            self._port = self._reactor.listenTCP(port, self._factory, interface=host)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise CannotStart(f"HTTP: cannot listen on {host} port {port}: {reason}") from None
        address = self._port.getHost()
        return address.host, address.port

    async def stop(self) -> None:
        """Free the port, and reset all connections, which ends their requests."""
        await self._port.stopListening()
        for channel in tuple(self._factory.connections):
            channel.abort()
