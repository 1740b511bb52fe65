"""The command's side of the control channel. No reactor: a command asks once and waits for the reply."""

import json
import socket
from pathlib import Path

from mailserver.control.channel import SOCKET, CommandFailed, CommandOutcome, Request, socket_name


def ask(data: Path, request: Request) -> CommandOutcome | None:
    """Have the running server perform a request; None if no server runs. Waits as long as it takes.

    Raises :class:`~mailserver.control.channel.CommandFailed` with what the server says, or why it
    cannot be asked.
    """
    path = data / SOCKET
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with socket_name(path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise CommandFailed(f"{path}: {error.strerror or error}") from None
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as replies:
                reply = json.loads(replies.readline())
        except (OSError, ValueError):
            raise CommandFailed("the server ended before it replied") from None
    if "error" in reply:
        raise CommandFailed(reply["error"])
    return CommandOutcome(tuple(reply["lines"]), reply["status"])
