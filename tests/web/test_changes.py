"""Sending, removing and waiting by the API."""

import base64
import json
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from mailserver.events.web import WebChange
from mailserver.web.routes import BASE
from tests.support.fakes import stand_in
from tests.support.http_wire import connect_http, read_answers
from tests.support.logs import reported
from tests.support.model_clients import Reader
from tests.support.web import WEB, WebServer, basic, web_server

RAW = {"Content-Type": "message/rfc822"}
JSON = {"Content-Type": "application/json"}


def send(web: WebServer, who: str = "alice", query: str = "", **members: Any) -> str:
    found = web.api("POST", f"/messages{query}", who, {"to": ["bob@example.org"], **members}, fields=JSON)
    return str(found["id"])


def newest(web: WebServer, who: str) -> dict[str, Any]:
    found: dict[str, Any] = web.api("GET", "/messages?limit=1", who)["messages"][0]
    return found


def test_a_message_in_json(web: WebServer) -> None:
    attached = {"content": base64.b64encode(b"\0\1").decode(), "filename": "é.bin"}
    id = send(
        web,
        subject="grüße\r\nBcc: x@example.org",
        text="hallo\n",
        html="<p>hallo",
        cc=["Carol <carol@example.org>"],
        bcc=["alice"],
        attachments=[attached],
    )
    raws = []
    for who in ("bob", "carol", "alice"):
        shown = web.api("GET", f"/messages/{newest(web, who)['id']}", who)
        assert (shown["subject"], shown["text"]) == ("grüße  Bcc: x@example.org", "hallo\n")
        assert shown["parts"][-1]["filename"] == "é.bin"
        names = {each["name"].lower() for each in shown["headers"]}
        assert {"date", "message-id", "from", "to", "cc"} <= names and "bcc" not in names
        (received,) = (each["value"] for each in shown["headers"] if each["name"] == "Received")
        assert f"with HTTP id {id}" in received
        raws.append(web.ask("GET", f"{BASE}/messages/{shown['id']}/raw", who).body)
    message = message_from_bytes(raws[0], policy=policy.default)
    assert message["From"] == "alice@example.org"


@pytest.mark.parametrize("size", [10, 300_000])
def test_octets(web: WebServer, size: int) -> None:
    octets = b"From: alice@example.org\nSubject: raw\n\n" + b"x" * 60 + b"\n" + b"y\n" * (size // 2)
    target = "/messages?to=bob@example.org,%20Carol%20%3Ccarol@example.org%3E"
    web.api("POST", target, "alice", octets, fields=RAW)
    for who in ("bob", "carol"):
        body = web.ask("GET", f"{BASE}/messages/{newest(web, who)['id']}/raw", who).body
        assert body.endswith(octets.partition(b"\n\n")[2].replace(b"\n", b"\r\n"))
        assert b"\r\nSubject: raw\r\n" in body


@pytest.mark.parametrize(
    ("who", "members", "status", "detail"),
    [
        ("alice", {"from": "bob@example.org"}, 403, "bob@example.org"),
        ("alice", {"to": ["nobody@example.org"]}, 422, "nobody@example.org"),
        ("alice", {"to": []}, 422, "needs a recipient"),
        ("alice", {"to": ["@"]}, 422, '"to"'),
        ("alice", {"to": ["a@b, c@d"]}, 422, "expected one address"),
        ("alice", {"to": "bob@example.org"}, 422, "expected an array"),
        ("alice", {"subject": "\ud800"}, 422, "expected a string"),
        ("alice", {"attachments": [{}]}, 422, "expected objects"),
        ("alice", {"attachments": [{"content": "!"}]}, 422, "Base64"),
        ("alice", {"attachments": [{"content": "", "content_type": "multipart/mixed"}]}, 422, "invalid type"),
        ("alice", {"subjct": "x"}, 422, 'did you mean "subject"'),
    ],
)
def test_what_cannot_be_sent(web: WebServer, who: str, members: Any, status: int, detail: str) -> None:
    before = web.api("GET", "/messages", "bob")["total"]
    body = {"to": ["bob@example.org"], **members}
    assert detail in web.problem(status, "POST", "/messages", who, body, fields=JSON)
    assert web.api("GET", "/messages", "bob")["total"] == before


def test_other_bodies(web: WebServer) -> None:
    web.problem(415, "POST", "/messages", "alice", b"to=bob", fields={"Content-Type": "text/plain"})
    web.problem(400, "POST", "/messages", "alice", b"{", fields=JSON)
    web.problem(422, "POST", "/messages", "alice", b"Subject: x\n\n", fields=RAW)
    web.problem(422, "POST", "/messages?to=x%3C", "alice", b"Subject: x\n\n", fields=RAW)


def test_a_removal(web: WebServer) -> None:
    send(web, subject="to remove")
    id = newest(web, "bob")["id"]
    web.problem(404, "DELETE", f"/messages/{id}", "alice")
    with reported() as events:
        web.api("DELETE", f"/messages/{id}", "bob")
    (change,) = (each for each in events if isinstance(each, WebChange))
    assert change.account == "bob@example.org" and change.what.startswith("remove message ")
    for method in ("GET", "DELETE"):
        web.problem(404, method, f"/messages/{id}", "bob")


def test_a_locked_mailbox(web: WebServer) -> None:
    send(web, to=["alice@example.org"], subject="stays")
    id = newest(web, "alice")["id"]
    reader = Reader(web.reactor)
    assert reader.log_in().startswith(b"+OK")
    web.problem(409, "DELETE", f"/messages/{id}", "alice")
    reader.lose()
    web.api("DELETE", f"/messages/{id}", "alice")


# ------------------------------------------------------------ waiting


class Waiting:
    """A request that waits."""

    def __init__(self, web: WebServer, query: str) -> None:
        self.web = web
        self.channel, self.wire = connect_http(stand_in(web.reactor.tcpServers[WEB][1]))
        head = f"GET {BASE}/messages/wait?{query} HTTP/1.1\r\nHost: localhost\r\n"
        self.channel.dataReceived(f"{head}Authorization: {basic('bob')}\r\n\r\n".encode())

    def answer(self) -> Any:
        self.web.reactor.pump_until(self.wire.value)
        (answer,) = read_answers(self.wire.value())
        self.channel.connectionLost(Failure(ConnectionLost()))
        return answer.status, json.loads(answer.body)


def test_a_message_that_is_there(web: WebServer) -> None:
    send(web, subject="there")
    assert Waiting(web, "subject=there").answer()[1]["id"] == newest(web, "bob")["id"]


def test_a_message_that_comes(web: WebServer) -> None:
    send(web, subject="before")
    before = newest(web, "bob")["id"]
    waiting, behind = Waiting(web, "subject=comes"), Waiting(web, f"after={before}")
    web.reactor.linger()
    assert not waiting.wire.value() and not behind.wire.value()
    send(web, subject="another")
    assert behind.answer()[1]["subject"] == "another"
    assert not waiting.wire.value()
    send(web, subject="comes")
    assert waiting.answer()[1]["subject"] == "comes"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("subject=never&timeout=0", 404),
        ("subject=never&timeout=0.1", 404),
        ("timeout=301", 422),
        ("timeout=x", 422),
        ("after=x", 404),
        ("mailbox=alice", 403),
    ],
)
def test_nothing_comes(web: WebServer, query: str, status: int) -> None:
    assert Waiting(web, query).answer()[0] == status


def test_a_client_that_leaves_waits_no_more(web: WebServer) -> None:
    waiting = Waiting(web, "subject=never")
    arrivals = stand_in(web.reactor.tcpServers[WEB][1]).application._parts.arrivals
    web.reactor.pump_until(lambda: arrivals._waiting)
    waiting.channel.connectionLost(Failure(ConnectionLost()))
    assert not arrivals._waiting


def test_a_stop_answers_those_who_wait(tmp_path: Path) -> None:
    with web_server(tmp_path) as web:
        waiting = Waiting(web, "subject=never")
        arrivals = stand_in(web.reactor.tcpServers[WEB][1]).application._parts.arrivals
        web.reactor.pump_until(lambda: arrivals._waiting)
        stopping = stand_in(web.reactor.tcpServers[WEB][1]).stop(5.0)
        assert waiting.answer()[0] == 503
        web.reactor.wait(stopping)
