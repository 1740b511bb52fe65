"""HTTP/1.1 for metrics and health checks, on twisted.web: what may come in, and how answers go out.

    GET /metrics    metrics in Prometheus' text format; with ?mailboxes=1 also those of each mailbox
    GET /healthz    200 as long as the process serves
    GET /readyz     200 if the server accepts mail, otherwise 503 with the reason

There is no authentication. Only GET and HEAD are allowed; the body of a request is not kept.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IOpenSSLServerConnectionCreator
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from mailserver.events.base import report
from mailserver.events.server import ScrapeFailed
from mailserver.interfaces import IReactor
from mailserver.metrics.exposition import CONTENT_TYPE

MOST = 100  # connections of one listener
IDLE = 60.0  # seconds until a connection without a request is closed
TEXT = "text/plain; charset=utf-8"


@attrs.frozen
class WebAnswer:
    """One answer."""

    status: int
    body: bytes
    content_type: str = TEXT


PageHandler = Callable[[bool], Awaitable[WebAnswer]]


class MonitoringPages:
    """The pages. ``scrape`` makes the metrics, with those of each mailbox if asked. ``problem`` is the reason
    why the server accepts no mail, "" if it does."""

    def __init__(
        self, scrape: Callable[[bool], Awaitable[bytes]], problem: Callable[[], Awaitable[str]]
    ) -> None:
        self._scrape = scrape
        self._problem = problem
        self.handlers: dict[bytes, PageHandler] = {
            b"/metrics": self._metrics,
            b"/healthz": self._health,
            b"/readyz": self._readiness,
        }

    async def _metrics(self, mailboxes: bool) -> WebAnswer:
        return WebAnswer(200, await self._scrape(mailboxes), CONTENT_TYPE)

    async def _health(self, mailboxes: bool) -> WebAnswer:
        return WebAnswer(200, b"ok\n")

    async def _readiness(self, mailboxes: bool) -> WebAnswer:
        problem = await self._problem()
        return WebAnswer(503, f"not ready: {problem}\n".encode()) if problem else WebAnswer(200, b"ready\n")


class BodilessRequest(Request):
    """A request whose body is not kept."""

    def handleContentChunk(self, data: bytes) -> None:
        """See the base class."""


class _Pages(Resource):
    """All paths."""

    isLeaf = True

    def __init__(self, pages: MonitoringPages) -> None:
        Resource.__init__(self)
        self._handlers = pages.handlers

    def render(self, request: Any) -> Any:
        """See the base class."""
        running = Deferred.fromCoroutine(self._respond(request))
        request.notifyFinish().addErrback(lambda failure: running.cancel())
        running.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return NOT_DONE_YET

    async def _respond(self, request: Any) -> None:
        answer = await self._answer(request)
        request.setResponseCode(answer.status)
        request.setHeader(b"Server", b"mailserver")
        request.setHeader(b"Content-Type", answer.content_type.encode())
        request.setHeader(b"Content-Length", b"%d" % len(answer.body))
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if answer.status == 405:
            request.setHeader(b"Allow", b"GET, HEAD")
        request.write(answer.body)
        request.finish()

    async def _answer(self, request: Any) -> WebAnswer:
        handler = self._handlers.get(request.path)
        if handler is None:
            return WebAnswer(404, b"not found; try /metrics, /healthz or /readyz\n")
        if request.method not in (b"GET", b"HEAD"):
            return WebAnswer(405, b"method not allowed; allowed: GET, HEAD\n")
        try:
            return await handler(request.args.get(b"mailboxes") == [b"1"])
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a bug fails the request and not the server
            report(ScrapeFailed(path=request.path.decode("latin-1")), Failure())
            return WebAnswer(500, b"internal error; see the log of the server\n")


class _QuietSite(Site):
    """A site without an access log: a scrape is no event of the mail server."""

    noisy = False

    def log(self, request: Any) -> None:
        """See the base class."""


@implementer(IOpenSSLServerConnectionCreator)
class _CurrentTLS:
    """The TLS of the next connection: certificates are renewed."""

    def __init__(self, options: Callable[[], Any]) -> None:
        self._options = options

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        """See the interface."""
        return SSL.Connection(self._options().getContext(), None)


class MonitoringFactory(WrappingFactory):
    """The factory of one listener; see :class:`~mailserver.net.listener.Listener`."""

    noisy = False

    def __init__(
        self, pages: MonitoringPages, reactor: IReactor, tls: Callable[[], object] | None = None
    ) -> None:
        """``tls`` returns the TLS context for the next connection; None: without TLS."""
        # Any: twisted.web is not typed.
        make_site: Any = _QuietSite
        site = make_site(_Pages(pages), requestFactory=BodilessRequest, timeout=IDLE, reactor=reactor)
        wrapped: Any = site
        if tls is not None:
            wrapped = TLSMemoryBIOFactory(_CurrentTLS(tls), False, site)
            wrapped.noisy = False
        base: Any = super()
        base.__init__(wrapped)
        self.reactor = reactor
        self.stopping = False
        self._all_closed: Deferred[None] | None = None
        self._deadline: IDelayedCall | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """None, which closes the connection, if there are too many."""
        if self.stopping or len(self.protocols) >= MOST:
            return None
        return super().buildProtocol(addr)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """See the base class."""
        base: Any = super()
        base.unregisterProtocol(p)
        if self._all_closed is not None and not self.protocols:
            if self._deadline is not None:
                self._deadline.cancel()
            done, self._all_closed = self._all_closed, None
            done.callback(None)

    def stop(self, grace: float) -> "Deferred[None]":
        """Close all connections, those that do not read their answers after a second.

        Fires when the last one is closed. Stop the port first.
        """
        self.stopping = True
        if not self.protocols:
            return succeed(None)
        self._all_closed = done = Deferred[None]()
        self._deadline = self.reactor.callLater(1.0, self._abort)
        for connection in list(self.protocols):
            connection.loseConnection()
        return done

    def _abort(self) -> None:
        self._deadline = None
        for connection in list(self.protocols):
            transport: Any = connection.transport
            transport.abortConnection()
