"""Tables of requests: method, path, parameters of the query, members of the body."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, unquote

import attrs

from mailserver.http.exchange import HTTPAnswer, HTTPBody, HTTPProblem
from mailserver.http.fields import MemberTable, read_members

NOTHING: MemberTable = {}

T = TypeVar("T")
R = TypeVar("R", bound="HTTPRoute[Any]")


@attrs.frozen
class HTTPCall:
    """One request, already checked against its route.

    ``path`` has the variable parts of the path, ``query`` the parameters that were given, ``body`` the
    values of the object in JSON, ``given`` that object. ``octets`` is the body as it is.
    """

    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]
    given: Mapping[str, Any]
    octets: HTTPBody


@attrs.frozen
class HTTPRoute(Generic[T]):
    """One kind of request. ``body`` has the members of the object in JSON, None if there is no such object.

    ``takes_octets``: the body is taken as it is. The handler gets the object that the route is for.
    """

    method: str
    path: str
    handler: Callable[[T, HTTPCall], Awaitable[HTTPAnswer]]
    query: MemberTable = NOTHING
    body: MemberTable | None = None
    takes_octets: bool = False

    def match(self, parts: Sequence[str]) -> dict[str, str] | None:
        """The variable parts of a path, None if the path is another one."""
        wanted = self.path[1:].split("/")
        if len(wanted) != len(parts):
            return None
        found: dict[str, str] = {}
        for name, part in zip(wanted, parts, strict=True):
            if name.startswith("{"):
                found[name[1:-1]] = part
            elif name != part:
                return None
        return found

    def call(
        self, variables: Mapping[str, str], query: str, body: HTTPBody, *, as_octets: bool = False
    ) -> HTTPCall:
        """Check a request against this route. Raises HTTPProblem, 400 or 422.

        ``as_octets``: this body is no object, though others may be."""
        parameters = _query(query)
        has_object = self.body is not None and not (self.takes_octets or as_octets)
        given = json_object(body.read()) if has_object else {}
        return HTTPCall(
            variables,
            read_members(parameters, self.query, "The query"),
            read_members(given, self.body or NOTHING, "The body") if has_object else {},
            given,
            body,
        )


def find_route(routes: Sequence[R], method: str, path: str) -> tuple[R, dict[str, str]]:
    """The route of a request, and the variable parts of its path. Raises HTTPProblem, 404 or 405.

    The first route that matches counts. The octets of a path are UTF-8, with percent signs as usual.
    """
    try:
        parts = [unquote(part, errors="strict") for part in path[1:].split("/")]
    except UnicodeDecodeError:
        raise HTTPProblem(404, "The path is not UTF-8.") from None
    allowed = []
    for route in routes:
        if (found := route.match(parts)) is not None:
            if route.method == method:
                return route, found
            allowed.append(route.method)
    if allowed:
        raise HTTPProblem(
            405,
            f"{method} is not possible here; allowed: {', '.join(allowed)}.",
            {"Allow": ", ".join(allowed)},
        )
    raise HTTPProblem(404, f'There is nothing at "{path}"; /api/v1/openapi.json describes what there is.')


def _query(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in found:
            raise HTTPProblem(422, f'The query has "{name}" twice.')
        found[name] = value
    return found


def json_object(body: bytes) -> Mapping[str, Any]:
    """The object in a body. Raises HTTPProblem, 400 or 422."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPProblem(400, f"The body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise HTTPProblem(422, "The body is not an object in JSON.")
    return found
