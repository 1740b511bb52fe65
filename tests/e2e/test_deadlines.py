"""Clients that take their time: octet by octet, never reading what they asked for, mute in a handshake."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.e2e.dialogue import SECONDS, Smtp
from tests.support.e2e.mailbox import SENDER
from tests.support.e2e.server import Server, configuration, wait_until

PORT = ("smtp", "tcp:0:interface=127.0.0.1")


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With no TLS, with TLS on request and from the first octet, and a second for everything."""
    tables = '[tls]\ngenerate = true\n[smtp]\ncommand_timeout = "1s"\n'
    config = configuration(listen=[(*PORT, tls) for tls in ("none", "starttls", "implicit")], tables=tables)
    yield from Server(tmp_path_factory.mktemp("impatient"), config).serve()


def drip(connection: socket.socket) -> bytes:
    """Send an octet every now and then until the server ends it: what it said."""
    said = b""
    connection.settimeout(0.2)
    end = time.monotonic() + 15
    while time.monotonic() < end:
        try:
            connection.send(b"x")
            while data := connection.recv(1000):
                said += data
            return said
        except TimeoutError:
            continue
        except ConnectionError:
            return said
    raise AssertionError(f"still connected, after {said!r}")


def test_a_command_octet_by_octet(impatient: Server) -> None:
    with socket.create_connection(impatient.smtp, 10) as connection:
        said = drip(connection)
    assert said.splitlines()[-1].startswith(b"421 4.4.2 ")


def test_a_message_octet_by_octet(impatient: Server) -> None:
    with socket.create_connection(impatient.smtp, 10) as connection:
        connection.sendall(
            b"EHLO c.example\r\nMAIL FROM:<%s>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n" % SENDER.encode()
        )
        said = drip(connection)
    assert said.splitlines()[-1].startswith(b"421 4.4.2 ")
    assert not list(impatient.data.rglob("new/*"))
    assert not list((impatient.data / "tmp").iterdir())


def test_a_peer_that_never_reads(impatient: Server) -> None:
    """It is given nothing more to do, its replies are bounded, and in the end it is cut off."""
    with socket.create_connection(impatient.smtp, 10) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        sent = 0
        try:
            while sent < 50_000_000:
                sent += connection.send(b"HELP\r\n" * 10000)
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 50_000_000, "it took all commands without anybody reading the replies"
        wait_until(lambda: _is_cut(connection), "the end of the connection", 15)
    impatient.check_log()


def _is_cut(connection: socket.socket) -> bool:
    try:
        connection.send(b"NOOP\r\n")
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


# ------------------------------------------------------------ a handshake that stalls


def test_handshakes_that_stall(impatient: Server) -> None:
    """In silence, after half of a ClientHello, or octet by octet: all are cut, and nobody else waits."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400)
    clients = [socket.create_connection(impatient.address("smtp", "implicit"), SECONDS) for _ in range(3)]
    for _ in range(3):
        session = Smtp(impatient.address("smtp", "starttls"))
        session.expect(b"STARTTLS", b"220 ")
        clients.append(session.socket)
    began = time.monotonic()
    for client in clients:
        client.settimeout(0.05)
    try:
        for client in clients[1::3]:
            client.sendall(hello[:200])
        sent = 0
        waiting = list(clients)
        while waiting and time.monotonic() - began < 10:
            for number, client in enumerate(clients):
                if client in waiting and _is_over(client, hello[sent : sent + 1] if number % 3 == 2 else b""):
                    waiting.remove(client)
            sent += 1
        assert not waiting, [clients.index(client) for client in waiting]
        assert 0.9 < time.monotonic() - began < 5
    finally:
        for client in clients:
            client.close()
    with Smtp(impatient.address("smtp", "starttls")) as session:
        session.expect(b"EHLO client.example", b"250")
    impatient.check_log()


def _is_over(client: socket.socket, octets: bytes) -> bool:
    try:
        client.sendall(octets)
        return client.recv(100) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
