"""50 connections that pipeline without end, beside one of another address: how long its NOOPs wait.

The target is 100 ms for each. Here the processor time of the reactor counts, since the machine that runs the
tests has other things to do: three of four must be within that, and none may wait a second. When whole reads
were run in one go, the median was seconds. The slices themselves are counted in ``net/test_run_queue.py``.
"""

import socket
import time
from collections.abc import Iterator

import pytest

from mailserver.net.smtp import READ_SIZE
from mailserver.queue.content import IN_MEMORY_OF_ALL, WAITING_OF_ALL
from tests.support.attacks.flood import flooding
from tests.support.attacks.memory import ROOM, most_memory
from tests.support.e2e.dialogue import SECONDS
from tests.support.e2e.processes import reactor_seconds
from tests.support.e2e.server import Server, configuration

CLIENTS = 50
TARGET, WORST = 0.1 + 0.02, 1.0  # seconds of work, whose clock has ticks of 10 ms
MEASURED = 2.0  # seconds
MAIL = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n"
FLOODS = {
    "RCPT, unknown": ("smtp", MAIL, b"RCPT TO:<nobody@example.org>\r\n"),
    "NOOP": ("smtp", b"", b"NOOP\r\n"),
    "VRFY": ("smtp", MAIL, b"VRFY nobody\r\n"),
    "HELP": ("smtp", b"", b"HELP\r\n"),
    "EHLO": ("smtp", b"", b"EHLO c.example\r\n"),
    "wrong": ("smtp", b"", b"WRONG\r\n"),
    "text of messages": ("smtp", MAIL + b"RCPT TO:<alice@example.org>\r\nDATA\r\n", b"x" * 78 + b"\r\n"),
    "CAPA": ("pop3", b"", b"CAPA\r\n"),
    "USER": ("pop3", b"", b"USER alice\r\n"),
}
TABLES = '[smtp]\nmax_errors = 0\nverify = "always"\n'


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Nobody is sent away for wrong commands, so that the flood goes on; loopback is exempt from the rest."""
    config = configuration(accounts=["alice"], tables=TABLES)
    yield from Server(tmp_path_factory.mktemp("flooded"), config).serve()


def waits(server: Server) -> list[float]:
    """How long the reactor has worked before each NOOP of another address, in seconds, ascending."""
    found = []
    with socket.create_connection(server.smtp, SECONDS, ("127.0.0.2", 0)) as probe:
        assert probe.recv(1024).startswith(b"220 ")
        end = time.monotonic() + MEASURED
        while time.monotonic() < end:
            began = reactor_seconds(server)
            probe.sendall(b"NOOP\r\n")
            assert probe.recv(1024) == b"250 2.0.0 Ok\r\n"
            found.append(reactor_seconds(server) - began)
            time.sleep(0.01)
    return sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize("flood", FLOODS)
def test_a_command_of_another_address(flood: str, flooded: Server) -> None:
    protocol, before, command = FLOODS[flood]
    memory, log = most_memory(flooded), flooded.log_file.stat().st_size
    with flooding(flooded.address(protocol), CLIENTS, before, command):
        found = waits(flooded)
    print(
        f"{flood}: median {found[len(found) // 2]:.4f} s, longest {found[-1]:.4f} s of work, of {len(found)}"
    )
    assert found[len(found) * 3 // 4] < TARGET and found[-1] < WORST
    # What all messages together may have in memory, and a read of each connection that waits for its turn.
    most = ROOM + IN_MEMORY_OF_ALL + WAITING_OF_ALL + CLIENTS * READ_SIZE
    assert most_memory(flooded) - memory < most
    assert flooded.log_file.stat().st_size - log < CLIENTS * 1000, "a refusal is not a line of the log each"
