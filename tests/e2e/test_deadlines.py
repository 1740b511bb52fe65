"""Clients that take their time: octet by octet, or not reading what they asked for."""

import socket
import time

from .conftest import Makes
from .mailbox import SENDER
from .server import Server, configuration, wait_until

IMPATIENT = '[smtp]\ncommand_timeout = "1s"\n'


def impatient(make_server: Makes) -> Server:
    return make_server(configuration(tables=IMPATIENT)).start()


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


def test_a_command_octet_by_octet(make_server: Makes) -> None:
    server = impatient(make_server)
    with socket.create_connection(server.smtp, 10) as connection:
        said = drip(connection)
    assert said.splitlines()[-1].startswith(b"421 4.4.2 ")


def test_a_message_octet_by_octet(make_server: Makes) -> None:
    server = impatient(make_server)
    with socket.create_connection(server.smtp, 10) as connection:
        connection.sendall(
            b"EHLO c.example\r\nMAIL FROM:<%s>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n" % SENDER.encode()
        )
        said = drip(connection)
    assert said.splitlines()[-1].startswith(b"421 4.4.2 ")
    assert not list(server.data.rglob("new/*"))
    assert not list((server.data / "tmp").iterdir())


def test_a_peer_that_never_reads(make_server: Makes) -> None:
    """It is given nothing more to do, its replies are bounded, and in the end it is cut off."""
    server = impatient(make_server)
    with socket.create_connection(server.smtp, 10) as connection:
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
    server.check_log()


def _is_cut(connection: socket.socket) -> bool:
    try:
        connection.send(b"NOOP\r\n")
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False
