"""Who may do what: a table of requests and visitors, and the ways to log in."""

import json
from pathlib import Path

import jwt
import pytest

from mailserver.events.connections import LoginRejected, LoginSucceeded
from mailserver.web.mailboxes import word
from mailserver.web.openapi import document
from mailserver.web.routes import BASE, ROUTES
from tests.support.e2e.server import PASSWORD
from tests.support.logs import reported
from tests.support.web import TABLES, WebServer, basic, web_server

MESSAGE = b"Subject: private\r\n\r\nx\r\n"
JSON = {"Content-Type": "application/json"}
# The request, and the status for nobody, alice, bob, and carol, who is an administrator.
TABLE = [
    ("GET", "/openapi.json", None, (200, 200, 200, 200)),
    ("GET", "/messages", None, (401, 200, 200, 200)),
    ("GET", "/messages?mailbox=alice@example.org", None, (401, 200, 403, 200)),
    ("GET", "/messages?mailbox=nobody@example.org", None, (401, 403, 403, 404)),
    ("GET", "/messages?mailbox=quarantine@example.org", None, (401, 403, 403, 200)),
    ("GET", "/messages/ALICE", None, (401, 200, 404, 200)),
    ("GET", "/messages/ALICE/raw", None, (401, 200, 404, 200)),
    ("GET", "/messages/ALICE/parts/1", None, (401, 200, 404, 200)),
    ("GET", "/messages/wait?timeout=0&after=ALICE", None, (401, 404, 404, 422)),
    ("POST", "/messages", {"to": ["alice"], "from": "alice@example.org"}, (401, 202, 403, 403)),
    ("DELETE", "/messages/ALICE", None, (401, 204, 404, 404)),
    ("GET", "/health", None, (401, 200, 200, 200)),
    *(
        (method, path, body, (401, 403, 403, status))
        for method, path, body, status in (
            ("GET", "/accounts", None, 200),
            ("POST", "/accounts", {"address": "dave"}, 200),
            ("PUT", "/accounts/dave/password", {"password": "x"}, 200),
            ("DELETE", "/accounts/dave", None, 200),
            ("GET", "/queue", None, 200),
            ("GET", "/queue/x", None, 404),
            ("DELETE", "/queue/x", None, 409),
            ("POST", "/queue/x/retry", None, 409),
            ("POST", "/queue/x/hold", None, 409),
            ("POST", "/queue/x/release", None, 409),
            ("GET", "/events", None, 200),
        )
    ),
    ("GET", "/nothing", None, (404, 404, 404, 404)),
]


@pytest.fixture
def alices(web: WebServer) -> str:
    """The id of a new message of alice. The account of dave is there, unless the test adds it."""
    web.ask("POST", f"{BASE}/accounts", "carol", {"address": "dave"}, JSON)
    web.deliver(MESSAGE)
    return str(web.api("GET", "/messages", "alice")["messages"][0]["id"])


@pytest.mark.parametrize(("method", "path", "body", "statuses"), TABLE, ids=lambda value: str(value)[:60])
def test_the_table(
    web: WebServer, alices: str, method: str, path: str, body: object, statuses: tuple[int, ...]
) -> None:
    path = path.replace("ALICE", alices)
    if (method, path) == ("POST", "/accounts"):
        web.api("DELETE", "/accounts/dave", "carol")
    found = tuple(
        web.ask(method, BASE + path, who, body, JSON).status  # type: ignore[arg-type]
        for who in ("", "alice", "bob", "carol")
    )
    assert found == statuses


def test_the_table_has_each_route() -> None:
    asked = {(method, path.partition("?")[0]) for method, path, _, _ in TABLE}
    for route in ROUTES:
        path = route.path.replace("{message}", "ALICE").replace("{part}", "1")
        path = path.replace("{account}", "dave").replace("{queued}", "x")
        assert (route.method, path) in asked


def test_a_made_up_id(web: WebServer) -> None:
    web.problem(404, "GET", f"/messages/{word('alice@example.org/none')}", "alice")


@pytest.mark.parametrize(
    "authorization",
    [
        basic("alice", "wrong"),
        basic("nobody"),
        basic("alice", ""),
        "Basic",
        "Basic !",
        "Basic YWxpY2U=",
        "Basic " + "QQ" * 4000,
        "Bearer",
        "Bearer x.y.z",
        "Digest username=alice",
        "Negotiate YQ==",
        basic("alice") + ", " + basic("alice"),
    ],
)
def test_wrong_credentials_end_the_connection(web: WebServer, authorization: str) -> None:
    answer = web.ask("GET", f"{BASE}/messages", fields={"Authorization": authorization})
    assert (answer.status, answer.fields["connection"]) == (401, "close")
    assert answer.fields["www-authenticate"].startswith("Basic realm=")
    assert PASSWORD not in answer.body.decode()


def test_logins_are_logged_without_secrets(tmp_path: Path) -> None:
    with web_server(tmp_path) as web, reported() as events:
        request = (
            f"GET {BASE}/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic('alice')}\r\n\r\n"
        )
        assert [each.status for each in web.send(request.encode() * 2)] == [200, 200]
        web.ask("GET", f"{BASE}/messages", fields={"Authorization": basic("bob", "wrong-secret")})
    (logged_in,) = (each for each in events if isinstance(each, LoginSucceeded))
    assert (logged_in.user, logged_in.mechanism) == ("alice@example.org", "BASIC")
    (rejected,) = (each for each in events if isinstance(each, LoginRejected))
    assert (rejected.user, rejected.protocol, rejected.client) == ("bob@example.org", "web", "192.0.2.1")
    assert "wrong-secret" not in repr(events)


def test_guesses_block_the_name(tmp_path: Path) -> None:
    limits = TABLES.replace('"0s"', '"100ms"') + "auth_block_after = 3\n"
    with web_server(tmp_path, tables=limits) as web:
        before = web.reactor.seconds()
        for _ in range(3):
            web.problem(401, "GET", "/messages", "", fields={"Authorization": basic("alice", "wrong")})
        assert web.reactor.seconds() - before > 0.6, "each failure doubles the delay"
        web.problem(401, "GET", "/messages", "alice")
        web.api("GET", "/messages", "bob")
        web.host = "192.0.2.2"
        web.api("GET", "/messages", "alice")


def test_bearer_tokens(tmp_path: Path) -> None:
    key = "k" * 32
    tables = TABLES + f'[token]\nkey = "{key}"\n'
    with web_server(tmp_path, tables=tables) as web:
        for secret, status in ((key, 200), ("l" * 32, 401)):
            token = jwt.encode({"email": "alice@example.org", "exp": 2**33}, secret, "HS256")
            fields = {"Authorization": f"bearer {token}"}
            assert web.ask("GET", f"{BASE}/messages", fields=fields).status == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8025"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Host": "192.0.2.7"}, 200),
        ({"Host": "webmail.example.org"}, 200),
        ({"Host": "192.0.2.8"}, 421),
        ({"Host": "evil.example"}, 421),
        ({"Host": "mail.example.org.evil.example"}, 421),
        ({"Host": "example.org"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 200),
    ],
)
def test_hosts(tmp_path_factory: pytest.TempPathFactory, web: WebServer, fields, status) -> None:
    if fields.get("Host") == "webmail.example.org":
        with web_server(tmp_path_factory.mktemp("x"), 'names = ["webmail.example.org"]') as other:
            assert other.ask("GET", f"{BASE}/messages", "alice", fields=fields).status == status
        return
    assert web.ask("GET", f"{BASE}/messages", "alice", fields=fields).status == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 405),
        ({"Origin": "http://mail.example.org"}, 405),
        ({"Origin": "http://mail.example.org:80"}, 405),
        ({"Sec-Fetch-Site": "same-origin"}, 405),
        ({"Sec-Fetch-Site": "none"}, 405),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://mail.example.org"}, 403),
        ({"Origin": "http://mail.example.org:8080"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[x"}, 403),
    ],
)
def test_pages_of_other_sites_change_nothing(web: WebServer, fields, status) -> None:
    assert web.ask("PATCH", f"{BASE}/messages", "alice", b"", fields).status == status


def test_an_open_server_is_for_this_machine(tmp_path: Path) -> None:
    with web_server(tmp_path, "open = true") as web:
        for host, name, status in (
            ("127.0.0.1", "localhost", 200),
            ("127.0.0.1", "mail.example.org", 401),
            ("192.0.2.1", "localhost", 401),
        ):
            web.host = host
            answer = web.ask("GET", f"{BASE}/messages?mailbox=alice", fields={"Host": name})
            assert answer.status == status
        web.host = "127.0.0.1"
        web.problem(422, "GET", "/messages", "", fields={"Host": "localhost"})
        web.problem(401, "GET", "/messages", "", fields={"Host": "localhost", "Authorization": "Basic eA=="})


def test_health_needs_no_name_and_no_login(web: WebServer) -> None:
    answer = web.ask("GET", "/healthz", fields={"Host": "anything"})
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert web.ask("POST", "/healthz").fields["allow"] == "GET, HEAD"
    assert web.ask("GET", "/").status == 404


def test_the_description_is_served(web: WebServer) -> None:
    assert json.loads(web.ask("GET", f"{BASE}/openapi.json").body) == document()
