"""Idle clients: thousands of connections of this process that are greeted and then stay silent.

They come from many addresses of 127/8, so that none exceeds the limit of the server per address.
"""

import itertools
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import attrs

from .errors import BenchError
from .servers import HOST, Address
from .smtpload import CLIENT, say

VISITOR = "127.1.0.1"  # none of sources()
EACH = 50  # clients at one address
AT_ONCE = 32  # connections begun before their greetings are read: fewer than any listen queue takes
SECONDS = 60.0
SPARE = 400  # descriptors for all else that a process has open

# Since Linux 4.2: the port is chosen when the other end is known, and may be in use towards another.
BIND_ADDRESS_NO_PORT = 24


@attrs.frozen
class Manners:
    """The dialogue of a client: the greeting, one command with its reply, and the end."""

    greeting: bytes
    command: bytes
    answer: bytes
    farewell: bytes


SMTP = Manners(b"220", b"EHLO " + CLIENT.encode() + b"\r\n", b"250", b"221")
POP3 = Manners(b"+OK", b"USER nobody\r\n", b"+OK", b"+OK")


def sources() -> Iterator[str]:
    """Addresses of this machine except HOST, each repeated as often as it may have clients."""
    for third, fourth in itertools.product(range(1, 256), range(1, 255)):
        yield from [f"127.0.{third}.{fourth}"] * EACH


def allow_descriptors(connections: int) -> str:
    """Raise the descriptor limit of this process and its children to the need of ``connections``.

    Returns the reason if that is impossible, else "".
    """
    needed = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        return f"{connections} connections need {needed} file descriptors, and the hard limit is {hard}"
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return ""


def connect(address: Address, source: str = HOST) -> socket.socket:
    """A connection from this address. Raises OSError."""
    connection = socket.socket()
    try:
        connection.settimeout(SECONDS)
        connection.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        connection.bind((source, 0))
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def unverified() -> ssl.SSLContext:
    """A TLS context that verifies no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Crowd:
    """The clients of one port of a server; with a ``context`` they use implicit TLS."""

    def __init__(
        self,
        address: Address,
        manners: Manners,
        context: ssl.SSLContext | None = None,
        places: Iterator[str] | None = None,
    ) -> None:
        """``places`` are the unused addresses of :func:`sources`, which the crowds of a server share."""
        self.clients: list[socket.socket] = []
        self._address = address
        self._manners = manners
        self._context = context
        self._places = sources() if places is None else places

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for client in self.clients:
            client.close()

    def grow(self, number: int) -> None:
        """Add so many clients. Raises BenchError and OSError."""
        while number > 0:
            new = [connect(self._address, next(self._places)) for _ in range(min(number, AT_ONCE))]
            self.clients += new
            if self._context is not None:
                new = [self._context.wrap_socket(client) for client in new]
                self.clients[-len(new) :] = new
            for client in new:
                say(client, b"", self._manners.greeting)
                client.sendall(self._manners.command)
            for client in new:
                say(client, b"", self._manners.answer)
            number -= len(new)

    def check(self) -> None:
        """Check that all clients are still connected and have received nothing. Raises BenchError."""
        for client in self.clients:
            client.setblocking(False)
            try:
                said = client.recv(1000)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            finally:
                client.settimeout(SECONDS)
            raise BenchError(f"an idle client received {said!r}")

    def visits(self, number: int) -> list[float]:
        """Run so many sessions, one after another. Returns their durations in seconds.

        A session waits for its greeting and sends QUIT. The sessions have an address that no client has.
        """
        found = []
        for _ in range(number):
            began = time.perf_counter()
            with connect(self._address, VISITOR) as plain:
                client = self._context.wrap_socket(plain) if self._context is not None else plain
                say(client, b"", self._manners.greeting)
                say(client, b"QUIT\r\n", self._manners.farewell)
                if client.recv(1):
                    raise BenchError("the server sends data after the reply to QUIT")
                if client is not plain:
                    client.close()
            found.append(time.perf_counter() - began)
        return found
