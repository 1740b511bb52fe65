"""The pages of a listener for metrics and health checks.

    GET /metrics    metrics in Prometheus' text format; with ?mailboxes=1 also those of each mailbox
    GET /healthz    200 as long as the process serves
    GET /readyz     200 if the server accepts mail, otherwise 503 with the reason

There is no authentication. Only GET and HEAD are allowed, without a body.
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

from twisted.python.failure import Failure

from mailserver.events.base import report
from mailserver.events.server import ScrapeFailed
from mailserver.http.exchange import HTTPAnswer, HTTPHead, HTTPRequest
from mailserver.http.listening import HTTPListening
from mailserver.interfaces import IReactor
from mailserver.metrics.exposition import CONTENT_TYPE

MOST = 100  # connections of one listener

PageHandler = Callable[[bool], Awaitable[HTTPAnswer]]


class MonitoringPages:
    """The pages, an :class:`~mailserver.http.exchange.HTTPApplication`.

    ``scrape`` makes the metrics, with those of each mailbox if asked. ``problem`` is the reason why the
    server accepts no mail, "" if it does."""

    def __init__(
        self, scrape: Callable[[bool], Awaitable[bytes]], problem: Callable[[], Awaitable[str]]
    ) -> None:
        self._scrape = scrape
        self._problem = problem
        self._handlers: Mapping[str, PageHandler] = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
        }

    async def _metrics(self, mailboxes: bool) -> HTTPAnswer:
        return HTTPAnswer(200, await self._scrape(mailboxes), CONTENT_TYPE)

    async def _health(self, mailboxes: bool) -> HTTPAnswer:
        return HTTPAnswer.text("ok\n")

    async def _readiness(self, mailboxes: bool) -> HTTPAnswer:
        problem = await self._problem()
        return HTTPAnswer.text(f"not ready: {problem}\n", 503) if problem else HTTPAnswer.text("ready\n")

    def max_body(self, head: HTTPHead) -> int:
        """See the class."""
        return 0

    async def answer(self, request: HTTPRequest) -> HTTPAnswer:
        """See the class."""
        head = request.head
        handler = self._handlers.get(head.target)
        if handler is None:
            return HTTPAnswer.text("not found; try /metrics, /healthz or /readyz\n", 404)
        if head.method not in ("GET", "HEAD"):
            text = b"method not allowed; allowed: GET, HEAD\n"
            return HTTPAnswer(405, text, "text/plain", {"Allow": "GET, HEAD"})
        return await handler(parse_qs(head.query).get("mailboxes") == ["1"])

    def failed(self, head: HTTPHead, failure: Failure) -> HTTPAnswer:
        """See the class."""
        report(ScrapeFailed(path=head.target), failure)
        return HTTPAnswer.text("internal error; see the log of the server\n", 500)

    def stop(self) -> None:
        """See the class: no request waits for an event."""


def monitoring_listening(
    pages: MonitoringPages, reactor: IReactor, tls: Callable[[], object] | None
) -> HTTPListening:
    """The factory of a listener. ``tls`` returns the TLS context for the next connection; None: no TLS."""
    return HTTPListening(pages, reactor, tls=tls, most=MOST, old_clients=True)
