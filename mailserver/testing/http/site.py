"""HTTP/1.1 for the fixture, on twisted.web: what may come in, and how answers go out.

A browser must not be able to steer the fixture for a web page that somebody else has written. So the Host
field must be an IP address, localhost or a name that was allowed, against DNS rebinding, and so must the
Origin field if there is one.
"""

import ipaddress
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mailserver.errors import CannotStart
from mailserver.testing.http.control import ControlledServers
from mailserver.testing.http.exchange import HTTPAnswer, HTTPProblem

MAX_BODY = 64 * 1024 * 1024  # octets
IDLE = 60.0  # seconds until a connection without a request is closed


class BoundedRequest(Request):
    """A request. What is beyond :data:`MAX_BODY` of its body is not kept."""

    received = 0

    def handleContentChunk(self, data: bytes) -> None:
        """See the base class."""
        self.received += len(data)
        if self.received <= MAX_BODY:
            # Any: twisted.web is not typed.
            base: Any = super()
            base.handleContentChunk(data)


class ControlResource(Resource):
    """Everything."""

    isLeaf = True

    def __init__(self, servers: ControlledServers, names: Collection[str]) -> None:
        """``names`` are allowed in the Host field, beside IP addresses and localhost."""
        Resource.__init__(self)
        self._servers = servers
        self._names = {name.lower() for name in names} | {"localhost"}

    def render(self, request: Any) -> Any:
        """See the base class."""
        running = Deferred.fromCoroutine(self._respond(request))
        request.notifyFinish().addErrback(lambda failure: running.cancel())
        running.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return NOT_DONE_YET

    async def _respond(self, request: Any) -> None:
        try:
            answer = await self._answer(request)
        except HTTPProblem as problem:
            answer = problem.answer
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the client gets it, and the server goes on
            answer = HTTPProblem(500, f"{type(error).__name__}: {error}", traceback=_trace()).answer
        request.setResponseCode(answer.status)
        if answer.content_type:
            request.setHeader(b"Content-Type", answer.content_type.encode())
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        request.setHeader(b"Cache-Control", b"no-store")
        if answer.status != 204:
            request.setHeader(b"Content-Length", b"%d" % len(answer.body))
            request.write(answer.body)
        request.finish()

    async def _answer(self, request: Any) -> HTTPAnswer:
        host = request.getHeader(b"Host")
        if host is not None and not self._is_allowed(f"//{_text(host)}"):
            raise HTTPProblem(403, f'The host "{_text(host)}" is not allowed; --allow-host allows it.')
        origin = request.getHeader(b"Origin")
        if origin is not None and not self._is_allowed(_text(origin)):
            raise HTTPProblem(403, f'Web pages of "{_text(origin)}" may not use this server.')
        if request.received > MAX_BODY:
            raise HTTPProblem(413, f"The body is larger than {MAX_BODY:,} octets.")
        method = _text(request.method)
        return await self._servers.answer(
            "GET" if method == "HEAD" else method, _text(request.uri), request.content.read()
        )

    def _is_allowed(self, url: str) -> bool:
        try:
            name = urlsplit(url).hostname or ""
        except ValueError:
            return False
        if name.rstrip(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _trace() -> str:
    return str(Failure().getTraceback())


class ControlSite:
    """The port for HTTP. For the thread of the servers."""

    def __init__(self, reactor: Any, servers: ControlledServers, names: Collection[str] = ()) -> None:
        self._reactor = reactor
        self._resource = ControlResource(servers, names)
        self._factory: Any = None
        # Any: a port of Twisted has more than the interfaces say.
        self._port: Any = None

    def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen. Returns host and port. Raises CannotStart."""
        site = Site(self._resource, requestFactory=BoundedRequest, timeout=IDLE, reactor=self._reactor)
        self._factory = WrappingFactory(site)
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
        for connection in tuple(self._factory.protocols):
            connection.transport.abortConnection()
