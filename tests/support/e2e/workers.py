"""The workers of a server process, as the system knows them."""

import poplib
import smtplib
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from tests.support.e2e.pids import has_socket, numbered_workers, runs, socket_inode
from tests.support.e2e.server import Server, wait_until

Client = TypeVar("Client", poplib.POP3, smtplib.SMTP)


def workers(server: Server) -> dict[int, int]:
    """The process ids of the workers that run, by their numbers."""
    return numbered_workers(server.pid)


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended."""
    wait_until(lambda: not runs(pid), f"the end of process {pid}")


def worker_of(server: Server, connection: socket.socket) -> int | None:
    """The number of the worker that has accepted a connection over IPv4; None if none has yet."""
    inode = socket_inode(connection.getpeername()[1], connection.getsockname()[1])
    numbers = [number for number, pid in workers(server).items() if inode and has_socket(pid, inode)]
    return numbers[0] if numbers else None


def connect_to(server: Server, number: int, connect: Callable[[], Client]) -> Client:
    """Connect, again and again, until the worker of this number accepts the connection."""

    def found() -> Client | None:
        client = connect()
        assert client.sock is not None
        if worker_of(server, client.sock) == number:
            return client
        client.close()
        return None

    client: Client = wait_until(found, f"a connection to worker {number}")
    return client


def starts_again(server: Server, number: int, pid: int) -> int:
    """Wait until the worker that was the process ``pid`` has another one, which serves."""

    def found() -> Any:
        now = workers(server).get(number)
        return now if now != pid and f"worker {number} is ready (pid {now})" in server.log else None

    new: int = wait_until(found, f"worker {number}")
    return new
