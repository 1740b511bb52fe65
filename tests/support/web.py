"""A whole server without sockets and with a web listener, and its clients."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from jsonschema import Draft202012Validator
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from mailserver.app.build import make_service
from mailserver.http.routes import find_route
from mailserver.web.openapi import document
from mailserver.web.routes import BASE, ROUTES
from tests.support.e2e.server import PASSWORD, configuration
from tests.support.fakes import stand_in
from tests.support.http_wire import WireAnswer, connect_http, read_answers
from tests.support.model_clients import Reactor, Sender

LISTEN = (
    ("smtp", "tcp:0:interface=127.0.0.1"),
    ("pop3", "tcp:0:interface=127.0.0.1"),
    ("web", "tcp:0"),
)
WEB = 2
TABLES = """
[storage]
engine = "memory"
[policy]
spf = "off"
dkim = "off"
dmarc = "off"
[limits]
exempt = []
auth_failure_delay = "0s"
"""
ADMINISTRATOR = "carol"


def basic(name: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@attrs.define
class WebServer:
    """The server; alice, bob and carol have accounts, and carol is an administrator."""

    reactor: Reactor
    folder: Path
    host: str = "192.0.2.1"

    def send(self, octets: bytes, *methods: str) -> list[WireAnswer]:
        """Send requests on a new connection, and wait for the answers to them."""
        factory = stand_in(self.reactor.tcpServers[WEB][1])
        channel, wire = connect_http(factory, self.host)
        channel.dataReceived(octets)
        self.reactor.pump_until(lambda: wire.disconnecting or (wire.value() and not channel.is_busy))
        answers = read_answers(wire.value(), *methods)
        channel.connectionLost(Failure(ConnectionLost()))
        return answers

    def ask(
        self,
        method: str,
        target: str,
        who: str = "",
        body: bytes | Mapping[str, Any] | None = None,
        fields: Mapping[str, str] = {},
    ) -> WireAnswer:
        """One request of ``who``; "" is nobody."""
        lines = {"Host": "mail.example.org", **({"Authorization": basic(who)} if who else {}), **fields}
        octets = json.dumps(body).encode() if isinstance(body, Mapping) else body or b""
        if body is not None:
            lines["Content-Length"] = str(len(octets))
        head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        (answer,) = self.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + octets, method)
        return answer

    def api(self, method: str, path: str, who: str, body: Any = None, **options: Any) -> Any:
        """A request of the API that is possible. Its answer is checked against the description."""
        answer = self.ask(method, BASE + path, who, body, **options)
        return check_described(method, path, answer)

    def problem(self, status: int, method: str, path: str, who: str, body: Any = None, **options: Any) -> Any:
        """A request of the API that is not possible: its problem details."""
        answer = self.ask(method, BASE + path, who, body, **options)
        assert (answer.status, answer.fields["content-type"]) == (status, "application/problem+json"), answer
        value = json.loads(answer.body)
        validate({"$ref": "#/components/schemas/Problem"}, value)
        return value["detail"]

    def deliver(self, octets: bytes) -> None:
        """Deliver a message to alice and bob."""
        sender = Sender(self.reactor)
        sender.begin(octets)
        assert sender.ask(b".").startswith(b"250 ")
        sender.lose()


def validate(schema: dict[str, Any], value: object) -> None:
    whole = {**schema, "components": document()["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def check_described(method: str, path: str, answer: WireAnswer) -> Any:
    """Check an answer against the description. Returns its JSON, or its octets."""
    route, _ = find_route(ROUTES, method, path.partition("?")[0])
    described = document()["paths"][route.path][method.lower()]["responses"]
    assert str(answer.status) in described, answer
    content = described[str(answer.status)].get("content")
    if content is None:
        assert answer.body == b""
        return None
    ((media, inner),) = content.items()
    if media != "application/json":
        return answer.body
    assert answer.fields["content-type"] == media
    value = json.loads(answer.body)
    validate(inner["schema"], value)
    return value


@contextmanager
def web_server(folder: Path, more: str = "", tables: str = TABLES) -> Iterator[WebServer]:
    """``more`` are further keys of [web]."""
    path = folder / "mailserver.toml"
    administrators = f'[web]\nadministrators = ["{ADMINISTRATOR}"]\n{more}\n'
    accounts = ("alice", "bob", ADMINISTRATOR)
    path.write_text(configuration(listen=LISTEN, accounts=accounts, tables=tables + administrators))
    reactor = Reactor()
    service = make_service(stand_in(reactor), path)
    service.startService()
    try:
        yield WebServer(reactor, folder)
    finally:
        reactor.wait(service.stopService())
        reactor.stop()
