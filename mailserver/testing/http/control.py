"""Answers requests by HTTP for all servers of the program. For the thread of the servers.

The first server is at ``/api/v1``, so that a test that needs one knows nothing of ids. Each further one, and
the first one as "default", has the same requests at ``/api/v1/servers/ID``.
"""

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from mailserver.errors import CannotStart, ConfigurationError
from mailserver.testing.http.exchange import JSON, HTTPAnswer, HTTPCall, HTTPProblem
from mailserver.testing.http.fields import Member, MemberTable, integer, mapping, read_members, text
from mailserver.testing.http.routes import find_route
from mailserver.testing.http.served import ServedMailServer
from mailserver.testing.http.views import server_view
from mailserver.testing.server import MailServer
from mailserver.testing.settings import SECTIONS

BASE = "/api/v1"
DEFAULT = "default"
OPENAPI = Path(__file__).parent / "openapi.json"


def _tls(value: Any) -> bool | str:
    if not isinstance(value, bool | str):
        raise ValueError("expected true, false, or the name of a fault")
    return value


SETTINGS: MemberTable = {
    **{name: Member(text) for name in ("accept", "profile", "hostname", "domain", "host")},
    "seed": Member(integer()),
    "tls": Member(_tls),
    "ports": Member(mapping),
    **{name: Member(mapping) for name in SECTIONS},
}


class ControlledServers:
    """The servers of the program by their ids."""

    def __init__(self, first: MailServer) -> None:
        """``first`` runs already."""
        self.servers = {DEFAULT: ServedMailServer(DEFAULT, first)}
        self._numbers = count(2)

    async def stop(self) -> None:
        """Stop all servers."""
        for served in self.servers.values():
            await served.server.stopping()

    async def answer(self, method: str, target: str, body: bytes) -> HTTPAnswer:
        """The answer to a request. ``target`` is its path with the query. Raises HTTPProblem."""
        path, _, query = target.partition("?")
        if not path.startswith(f"{BASE}/"):
            raise HTTPProblem(404, f"There is nothing at {path}; all paths begin with {BASE}/.")
        path = path.removeprefix(BASE)
        if path == "/openapi.json" and method == "GET":
            return HTTPAnswer(200, OPENAPI.read_bytes(), JSON)
        if path == "/servers" and method in ("GET", "POST"):
            return self._make(body) if method == "POST" else self._list()
        served = self.servers[DEFAULT]
        if path.startswith("/servers/"):
            id, slash, path = path.removeprefix("/servers/").partition("/")
            if id not in self.servers:
                raise HTTPProblem(404, f'There is no server "{id}".')
            served, path = self.servers[id], slash + path
            if not path and method == "DELETE":
                return await self._remove(id)
        route, variables = find_route(method, path)
        parameters = _query(query)
        given = _object(body) if route.body is not None else {}
        call = HTTPCall(
            variables,
            read_members(parameters, route.query, "The query"),
            read_members(given, route.body, "The body") if route.body is not None else {},
            given,
            body if route.takes_octets else b"",
        )
        return await route.handler(served, call)

    def _list(self) -> HTTPAnswer:
        return HTTPAnswer.of({"servers": [server_view(each) for each in self.servers.values()]})

    def _make(self, body: bytes) -> HTTPAnswer:
        settings = read_members(_object(body) if body else {}, SETTINGS, "The body")
        settings.setdefault("host", self.servers[DEFAULT].server.settings.host)
        try:
            server = MailServer(**settings).start()
        except ConfigurationError as error:
            raise HTTPProblem(422, "; ".join(error.lines)) from None
        except (TypeError, ValueError) as error:
            raise HTTPProblem(422, f"{error}") from None
        except CannotStart as error:
            raise HTTPProblem(409, f"{error}") from None
        id = str(next(self._numbers))
        self.servers[id] = ServedMailServer(id, server)
        return HTTPAnswer.of(server_view(self.servers[id]), 201)

    async def _remove(self, id: str) -> HTTPAnswer:
        if id == DEFAULT:
            raise HTTPProblem(409, "The first server runs as long as the program.")
        await self.servers.pop(id).server.stopping()
        return HTTPAnswer()


def _query(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in found:
            raise HTTPProblem(422, f'The query has "{name}" twice.')
        found[name] = value
    return found


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPProblem(400, f"The body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise HTTPProblem(422, "The body is not an object in JSON.")
    return found
