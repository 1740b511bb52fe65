"""What HTTP lets in: hosts, origins, bodies, and clients that leave."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from mailserver.errors import CannotStart
from mailserver.testing.http import site
from mailserver.testing.http.program import FixtureProgram
from mailserver.testing.server import MailServer
from tests.support.fixture_api import Api


@pytest.mark.parametrize(
    "headers,status",
    [
        ({}, 200),
        ({"Host": "localhost:8025"}, 200),
        ({"Host": "LOCALHOST."}, 200),
        ({"Host": "[::1]:8025"}, 200),
        ({"Host": "192.0.2.1"}, 200),
        ({"Host": "mail"}, 200),
        ({"Host": "evil.test"}, 403),
        ({"Host": "127.0.0.1.evil.test"}, 403),
        ({"Host": "[::1"}, 400),
        ({"Host": ""}, 400),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://evil.test"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_hosts_and_origins(headers: dict[str, str], status: int) -> None:
    program = FixtureProgram(MailServer(), allowed_hosts=["Mail"])
    program.start()
    try:
        assert Api(program.api).ask("GET", "/server", headers=headers).status == status
    finally:
        program.stop()


@pytest.mark.parametrize(
    "body,status,detail",
    [
        (b"{", 400, "The body is not JSON: "),
        (b"[]", 422, "The body is not an object in JSON."),
        (b"\xff", 400, "The body is not JSON: "),
        (b"", 400, "The body is not JSON: "),
        (b"[" * 100_000, 400, "The body is not JSON: "),
    ],
)
def test_bodies(api: Api, body: bytes, status: int, detail: str) -> None:
    assert detail in api.problem(status, "POST", "/rules", body)["detail"]


def test_a_parameter_twice(api: Api) -> None:
    got = exchange(api, b"GET /api/v1/messages?to=a&to=b HTTP/1.0\r\n\r\n")
    assert b" 422 " in got.splitlines()[0] and b'has \\"to\\" twice' in got


def exchange(api: Api, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", urlsplit(api.base).port or 0), timeout=30) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_not_kept(api: Api, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "MAX_BODY", 1000)
    body = b"x" * 1001
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    head = b"POST /api/v1/messages?to=bob HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n\r\n"
    got = exchange(api, head % length + sent)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert api("GET", "/messages") == {"messages": []}


def test_other_paths(api: Api) -> None:
    got = exchange(api, b"GET / HTTP/1.0\r\n\r\n")
    assert b"404" in got and b"all paths begin with /api/v1/" in got
    head = exchange(api, b"HEAD /api/v1/server HTTP/1.0\r\n\r\n")
    assert b"200 OK" in head and head.endswith(b"\r\n\r\n")


def test_a_client_that_leaves_ends_its_wait(api: Api, program: FixtureProgram) -> None:
    inbox = program.server.inbox

    def waits() -> int:
        return program.server.thread.call(lambda: len(inbox._listeners))

    address = ("127.0.0.1", urlsplit(api.base).port or 0)
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(b"GET /api/v1/messages/wait?timeout=600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not waits():
            api("GET", "/clock")
    while waits():
        api("GET", "/clock")


def test_a_stop_resets_all_connections(program: FixtureProgram) -> None:
    address = ("127.0.0.1", urlsplit(program.url).port or 0)
    with (
        socket.create_connection(address, timeout=30) as waiting,
        socket.create_connection(address, timeout=30) as idle,
    ):
        waiting.sendall(b"GET /api/v1/messages/wait?timeout=600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not program.server.thread.call(lambda: program.server.inbox._listeners):
            Api(program.api)("GET", "/clock")
        program.stop()
        for client in (waiting, idle):
            with pytest.raises(ConnectionResetError):
                client.recv(100)
    program.start()


def test_a_port_that_is_taken(program: FixtureProgram) -> None:
    server = MailServer()
    with pytest.raises(CannotStart, match=r"HTTP: .* 127\.0\.0\.1 port .*: Address already in use"):
        FixtureProgram(server, port=urlsplit(program.url).port or 0).start()
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.instance


def test_an_unexpected_exception_is_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(MailServer, "never_fired", fail)
    problem = api.problem(500, "GET", "/rules")
    assert "ZeroDivisionError: oops" in problem["detail"] and "never_fired" in problem["traceback"]
    assert json.dumps(problem)
