"""Answers the requests of a web listener: what may come in, and which part answers."""

from collections.abc import Callable, Collection

from twisted.python.failure import Failure

from mailserver.errors import MaildropInUse, StorageError
from mailserver.events.base import report
from mailserver.events.server import WebRequestFailed
from mailserver.http.exchange import JSON, HTTPAnswer, HTTPHead, HTTPProblem, HTTPRequest
from mailserver.http.routes import find_route
from mailserver.web.access import Access, needs_login, nobody
from mailserver.web.context import ApiContext, ApiParts
from mailserver.web.names import check_host, check_origin
from mailserver.web.openapi import document
from mailserver.web.routes import BASE, ROUTES, SMALL_BODY, ApiRoute, Who
from mailserver.web.well_known import WellKnownFiles

HEALTH = "/healthz"
OPENAPI = f"{BASE}/openapi.json"


class WebApplication:
    """An :class:`~mailserver.http.exchange.HTTPApplication`. ``names`` returns those of this server."""

    def __init__(
        self,
        access: Access,
        parts: ApiParts,
        files: WellKnownFiles,
        names: Callable[[], Collection[str]],
    ) -> None:
        self._access = access
        self._parts = parts
        self._files = files
        self._names = names

    def max_body(self, head: HTTPHead) -> int:
        """See the class."""
        if head.method == "POST" and head.target == f"{BASE}/messages":
            # In JSON, attachments have four octets for three.
            return SMALL_BODY + self._parts.smtp().max_message_size * 4 // 3
        return SMALL_BODY

    async def answer(self, request: HTTPRequest) -> HTTPAnswer:
        """See the class."""
        head = request.head
        if head.target == HEALTH:  # health checks ask for any name, and learn nothing
            return _fixed(head, HTTPAnswer.text("ok\n"))
        if not self._files.is_for(head):
            check_host(head, self._names())
        check_origin(head)
        if head.target == OPENAPI:
            return _fixed(head, HTTPAnswer.of(document()))
        if head.target.startswith(f"{BASE}/"):
            return await self._api(request)
        if (found := self._files.answer(request)) is not None:
            return found
        raise HTTPProblem(404, f'There is nothing at "{head.target}"; the API is at {BASE}/.')

    async def _api(self, request: HTTPRequest) -> HTTPAnswer:
        head = request.head
        method = "GET" if head.method == "HEAD" else head.method
        route, variables = find_route(ROUTES, method, head.target.removeprefix(BASE))
        visitor = await self._access.visitor(head)
        if route.who is not Who.ANYBODY and visitor is None:
            raise needs_login()
        if route.who is Who.ADMINISTRATOR and visitor is not None and not visitor.is_administrator:
            raise HTTPProblem(403, "This is for administrators; see web.administrators.")
        call = route.call(variables, head.query, request.body, as_octets=_is_octets(route, head))
        try:
            context = ApiContext(visitor=visitor or nobody(head), head=head, parts=self._parts)
            return await route.handler(context, call)
        except MaildropInUse:
            raise HTTPProblem(409, "A POP3 session has locked the mailbox; try again later.") from None
        except StorageError as error:
            raise HTTPProblem(503, f"The storage has a problem: {error}", {"Retry-After": "60"}) from None

    def failed(self, head: HTTPHead, failure: Failure) -> HTTPAnswer:
        """See the class."""
        report(WebRequestFailed(path=head.target[:200], client=head.client, session=head.session), failure)
        return HTTPProblem(500, "Internal error; see the log of the server.").answer

    def stop(self) -> None:
        """See the class."""
        self._parts.arrivals.stop()


def _is_octets(route: ApiRoute, head: HTTPHead) -> bool:
    """Whether the body is taken as it is. Raises HTTPProblem, 415."""
    kind = (head.field("content-type") or "").partition(";")[0].strip().lower()
    if route.octets_type and kind == route.octets_type:
        return True
    if route.body is not None and kind != JSON:
        expected = f"{JSON} or {route.octets_type}" if route.octets_type else JSON
        raise HTTPProblem(415, f'The type of the body is "{kind}"; expected {expected}.')
    return False


def _fixed(head: HTTPHead, answer: HTTPAnswer) -> HTTPAnswer:
    """An answer for methods that change nothing."""
    if head.method not in ("GET", "HEAD"):
        detail = f"{head.method} is not possible here; allowed: GET, HEAD."
        raise HTTPProblem(405, detail, {"Allow": "GET, HEAD"})
    return answer
