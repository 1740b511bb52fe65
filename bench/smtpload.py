"""Mail for the servers, sent by Postfix's ``smtp-source``, and idle connections."""

import os
import socket
import subprocess
import time
from collections.abc import Sequence

from .errors import BenchError
from .postfix_dovecot import program
from .servers import DOMAIN, Address, Server

SECONDS = 900.0  # for smtp-source as a whole
STILL = 120.0  # without one more message in the mailboxes, and it counts as lost
CLIENT = "client.example"


def send(
    server: Server,
    users: Sequence[str],
    messages: int,
    octets: int,
    connections: int,
    *,
    stay: bool = False,
    recipients: int = 0,
) -> float:
    """Send mail, and return the seconds until the last message was in its mailbox.

    For each of ``users`` one smtp-source sends its share of ``messages`` over its share of ``connections``.
    ``stay`` is for many messages on each connection. With ``recipients`` there is one user, and each message
    goes to all of those that ``copies(user, recipients)`` names. Raises BenchError.
    """
    began = time.perf_counter()
    path = program("smtp-source") or "smtp-source"
    running: list[subprocess.Popen[bytes]] = []
    try:
        for user in users:
            command = [path, "-M", CLIENT, "-f", f"sender@{CLIENT}", "-t", f"{user}@{DOMAIN}"]
            command += ["-l", str(octets), "-s", str(connections // len(users))]
            command += ["-m", str(messages // len(users)), *(["-d"] if stay else [])]
            command += ["-r", str(recipients)] if recipients else []
            command += [f"inet:{server.smtp[0]}:{server.smtp[1]}"]
            running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE))
        for one in running:
            _, said = one.communicate(timeout=SECONDS)
            if one.returncode:
                raise BenchError(f"smtp-source: {said.decode(errors='replace').strip()}")
    except subprocess.TimeoutExpired:
        raise BenchError(f"smtp-source was not done after {SECONDS:.0f} s") from None
    finally:
        for one in running:
            if one.poll() is None:
                one.kill()
                one.wait()
    filled = copies(users[0], recipients) if recipients else list(users)
    share = messages if recipients else messages // len(users)
    for user in filled:
        server.sent[user] = server.sent.get(user, 0) + share
    wait_for_delivery(server, filled)
    return time.perf_counter() - began


def copies(user: str, recipients: int) -> list[str]:
    """The local parts that ``smtp-source -r`` derives from one: the name, and the name after 2, 3 ..."""
    return [user, *(f"{number}{user}" for number in range(2, recipients + 1))]


def wait_for_delivery(server: Server, users: Sequence[str]) -> None:
    """Wait until all messages are in the Maildirs, without asking the server."""
    waiting = list(users)
    seen, since = (0, 0), time.monotonic()
    while waiting:
        found = {user: _files(server, user) for user in waiting}
        waiting = [user for user in waiting if found[user] < server.sent[user]]
        if (now := (len(waiting), sum(found.values()))) != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() > since + STILL:
            user = waiting[0]
            raise BenchError(f"{user}: {server.sent[user]} messages were sent, {found[user]} have arrived")
        if waiting:
            time.sleep(0.02)


def _files(server: Server, user: str) -> int:
    total = 0
    for name in ("new", "cur"):
        try:
            with os.scandir(server.maildir(user) / name) as entries:
                total += sum(1 for _ in entries)
        except FileNotFoundError:
            continue
    return total


def say(connection: socket.socket, command: bytes, code: bytes) -> None:
    """Send a command, if any, and read its reply. Raises BenchError if it has another code."""
    if command:
        connection.sendall(command)
    said = b""
    while not (said.endswith(b"\r\n") and said.splitlines()[-1][3:4] == b" "):
        got = connection.recv(4096)
        if not got:
            raise BenchError(f"the server closed the connection after {command!r}")
        said += got
    if not said.startswith(code):
        raise BenchError(f"{said!r} is the answer to {command!r}")


def idle(address: Address) -> socket.socket:
    """An idle connection after EHLO."""
    connection = socket.create_connection(address, timeout=60)
    say(connection, b"", b"220")
    say(connection, b"EHLO " + CLIENT.encode() + b"\r\n", b"250")
    return connection
