"""Answers requests by HTTP for all servers of the program. For the thread of the servers.

The first server is at ``/api/v1``, so that a test that needs one knows nothing of ids. Each further one, and
the first one as "default", has the same requests at ``/api/v1/servers/ID``.
"""

from itertools import count
from pathlib import Path
from typing import Any

from mailserver.errors import CannotStart, ConfigurationError
from mailserver.http.exchange import JSON, HTTPAnswer, HTTPBody, HTTPProblem
from mailserver.http.fields import Member, MemberTable, integer, mapping, read_members, text
from mailserver.http.routes import json_object
from mailserver.testing.http.routes import find_served
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

    async def answer(self, method: str, path: str, query: str, body: HTTPBody) -> HTTPAnswer:
        """The answer to a request. Raises HTTPProblem."""
        if not path.startswith(f"{BASE}/"):
            raise HTTPProblem(404, f"There is nothing at {path}; all paths begin with {BASE}/.")
        path = path.removeprefix(BASE)
        if path == "/openapi.json" and method == "GET":
            return HTTPAnswer(200, OPENAPI.read_bytes(), JSON)
        if path == "/servers" and method in ("GET", "POST"):
            return self._make(body.read()) if method == "POST" else self._list()
        served = self.servers[DEFAULT]
        if path.startswith("/servers/"):
            id, slash, path = path.removeprefix("/servers/").partition("/")
            if id not in self.servers:
                raise HTTPProblem(404, f'There is no server "{id}".')
            served, path = self.servers[id], slash + path
            if not path and method == "DELETE":
                return await self._remove(id)
        route, variables = find_served(method, path)
        return await route.handler(served, route.call(variables, query, body))

    def _list(self) -> HTTPAnswer:
        return HTTPAnswer.of({"servers": [server_view(each) for each in self.servers.values()]})

    def _make(self, body: bytes) -> HTTPAnswer:
        settings = read_members(json_object(body) if body else {}, SETTINGS, "The body")
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
