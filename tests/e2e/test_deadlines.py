"""A client that never reads what it asked for, over real sockets: their buffers are the kernel's."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.e2e.server import Server, configuration, wait_until

PORT = ("smtp", "tcp:0:interface=127.0.0.1")


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second for everything."""
    config = configuration(listen=[PORT], tables='[smtp]\ncommand_timeout = "1s"\n')
    yield from Server(tmp_path_factory.mktemp("impatient"), config).serve()


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
        wait_until(lambda: _is_cut(connection), "the end of the connection")
    impatient.check_log()


def _is_cut(connection: socket.socket) -> bool:
    try:
        connection.send(b"NOOP\r\n")
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False
