"""Accounts, the queue, events and health by the API, with an account that is an administrator."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure

from mailserver.events.web import WebChange
from tests.support.fakes import stand_in
from tests.support.logs import reported
from tests.support.web import ADMINISTRATOR, TABLES, WebServer, basic, web_server

JSON = {"Content-Type": "application/json"}


def admin(web: WebServer, method: str, path: str, body: Any = None) -> Any:
    return web.api(method, path, ADMINISTRATOR, body, fields=JSON)


def changes(events: list[Any]) -> list[str]:
    found = [each for each in events if isinstance(each, WebChange)]
    assert {each.account for each in found} == {f"{ADMINISTRATOR}@example.org"}
    return [each.what for each in found]


def test_the_life_of_an_account(web: WebServer) -> None:
    with reported() as events:
        admin(web, "POST", "/accounts", {"address": "erin@example.org", "password": "first-secret"})
        login = {"Authorization": basic("erin", "first-secret")}
        assert web.api("GET", "/messages", "", fields=login)["total"] == 0
        admin(web, "PUT", "/accounts/erin/password", {"password": "second-secret"})
        web.problem(401, "GET", "/messages", "", fields=login)
        web.api("GET", "/messages", "", fields={"Authorization": basic("erin", "second-secret")})
        found = {each["address"]: each for each in admin(web, "GET", "/accounts")["accounts"]}
        assert found["alice@example.org"]["is_configured"] and found["alice@example.org"]["password"] is None
        assert (found["erin@example.org"]["is_configured"], found["erin@example.org"]["password"]) == (
            False,
            "argon2",
        )
        admin(web, "DELETE", "/accounts/erin@example.org")
    assert changes(events) == [
        "account add erin@example.org",
        "account passwd erin",
        "account remove erin@example.org",
    ]
    assert "secret" not in repr(events)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("POST", "/accounts", {"address": "alice", "password": "x"}, 409, "in the configuration"),
        ("POST", "/accounts", {"address": "x@other.example"}, 409, "not in a domain of this server"),
        ("POST", "/accounts", {"password": "x"}, 422, 'needs "address"'),
        ("POST", "/accounts", {"address": 1}, 422, "expected a string"),
        ("PUT", "/accounts/nobody/password", {"password": "x"}, 409, "nobody@example.org"),
        ("PUT", "/accounts/alice/password", {"password": "x"}, 409, "in the configuration"),
        ("DELETE", "/accounts/alice", None, 409, "in the configuration"),
        ("DELETE", "/accounts/%00", None, 409, "invalid address"),
        ("GET", "/queue?state=x", None, 422, "expected one of due, waiting, held"),
        ("GET", "/queue?domain=%40", None, 409, "invalid domain"),
        ("GET", "/queue?cursor=x", None, 422, "cursor"),
        ("GET", "/queue?cursor=MQ", None, 409, "malformed position"),
        ("GET", "/events?what=nothing", None, 404, "no event of nothing"),
    ],
)
def test_what_is_not_possible(web: WebServer, method: str, path: str, body: Any, status: int, detail: str):
    assert detail in web.problem(status, method, path, ADMINISTRATOR, body, fields=JSON)


SMARTHOST = '[relay]\nnetworks = []\nsmarthost = "127.0.0.1:9"\nallow_private = true\n'


def fail_attempt(web: WebServer) -> None:
    """The smarthost rejects the connection of the attempt that is in progress."""
    web.reactor.pump_until(lambda: web.reactor.tcpClients)
    factory = stand_in(web.reactor.tcpClients.pop()[2])
    factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
    web.reactor.linger()


def test_the_queue(tmp_path: Path) -> None:
    with web_server(tmp_path, tables=TABLES + SMARTHOST) as web:
        _try_the_queue(web)


def _try_the_queue(web: WebServer) -> None:
    body = {"to": ["someone@elsewhere.invalid"], "subject": "waits"}
    id = web.api("POST", "/messages", "alice", body, fields=JSON)["id"]
    fail_attempt(web)
    admin(web, "POST", f"/queue/{id}/hold")
    (held,) = admin(web, "GET", "/queue?state=held")["messages"]
    assert (held["id"], held["sender"], held["recipients"][0]["state"]) == (id, "alice@example.org", "held")
    (shown,) = admin(web, "GET", f"/queue/{id}")["messages"]
    assert "Subject: waits" in shown["header"]
    admin(web, "POST", f"/queue/{id}/release")
    fail_attempt(web)
    admin(web, "POST", f"/queue/{id}/retry")
    fail_attempt(web)
    with reported() as events:
        admin(web, "DELETE", f"/queue/{id}")
    assert changes(events) == [f"queue remove {id}"]
    page, found = admin(web, "GET", "/queue"), []
    while page["next"] is not None:
        found += page["messages"]
        page = admin(web, "GET", f"/queue?cursor={page['next']}")
    assert found == []


def test_events(web: WebServer) -> None:
    id = web.api("POST", "/messages", "alice", {"to": ["bob"], "subject": "traced"}, fields=JSON)["id"]
    found = admin(web, "GET", "/events")["events"]
    assert found[0]["id"] == id and found[0]["namespace"] == "mailserver.MessageAccepted"
    of_message = admin(web, "GET", f"/events?what={id}")["events"]
    assert [each["id"] for each in of_message] == [id]
    assert len(admin(web, "GET", "/events?what=bob@example.org")["events"]) >= 1


def test_health(web: WebServer) -> None:
    assert web.api("GET", "/health", "alice") == {"accepts_mail": True, "problem": ""}
