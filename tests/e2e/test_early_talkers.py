"""Clients that speak before the greeting, over real sockets."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.e2e.dialogue import SECONDS
from tests.support.e2e.limited import LimitedServer

RULE = "smtp.early_talkers"
HELLO = b"EHLO client.example\r\n"
GREETING = b"220 mail.example.org ESMTP"


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    yield from LimitedServer(tmp_path_factory.mktemp("waiting")).serve()


def connect(address: tuple[str, int], host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(address, SECONDS, (host, 0))


def everything(client: socket.socket) -> bytes:
    """What the server says until it hangs up; a reset counts as that."""
    said = b""
    try:
        while data := client.recv(65536):
            said += data
    except ConnectionResetError:
        pass
    return said


@pytest.mark.parametrize("early_talkers", ["log", "refuse"])
def test_before_the_greeting(waiting: LimitedServer, early_talkers: str) -> None:
    waiting.limit(smtp=f'greeting_delay = "300ms"\nearly_talkers = "{early_talkers}"')
    early, polite = waiting.hosts(2)
    began = time.monotonic()
    with connect(waiting.smtp, early) as client, connect(waiting.smtp, polite) as other:
        client.sendall(HELLO + b"MAIL FROM:<a@b.example>\r\nQUIT\r\n")
        # the polite one is greeted, after the same time
        assert other.recv(100).startswith(GREETING)
        other.sendall(b"QUIT\r\n")
        assert everything(other).startswith(b"221 ")
        said = everything(client).splitlines()
        assert time.monotonic() - began >= 0.3
    codes = [line[:4] for line in said if line[3:4] != b"-"]
    if early_talkers == "refuse":
        assert said == [b"554 5.5.1 command sent before the greeting"]
    else:
        assert codes == [b"220 ", b"250 ", b"250 ", b"221 "], said
    [event] = waiting.events(RULE)
    assert event["client"] == early
    assert event["event"].startswith("rejected" if early_talkers == "refuse" else "early talker")
    assert event["reason"] == "command sent before the greeting"
