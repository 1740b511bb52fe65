"""The command's side of the control channel. No reactor: a command asks once and waits for the reply."""

import json
import socket
from pathlib import Path
from typing import Any

from mailserver.control.channel import CONTENT, SOCKET, CommandFailed, CommandOutcome, Request, socket_name


def ask(data: Path, request: Request, patience: float | None = None) -> CommandOutcome | None:
    """Have the running server perform a request; None if no server runs.

    ``patience`` is the time in seconds to wait for the server at each step, None for as long as it takes.

    An open file as the ``content`` of the request is passed to the server. Raises
    :class:`~mailserver.control.channel.CommandFailed` with what the server says, or why it cannot be asked.
    """
    path = data / SOCKET
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patience)
        try:
            with socket_name(path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise CommandFailed(f"{path}: {error.strerror or error}") from None
        words = {name: value for name, value in request.items() if name != CONTENT}
        line = json.dumps(words).encode() + b"\n"
        content: Any = request.get(CONTENT)
        try:
            if content is not None:
                # A message may be sent in part, but never without its descriptors.
                socket.send_fds(connection, [line[:1]], [content.fileno()])
                line = line[1:]
            connection.sendall(line)
            with connection.makefile("rb") as replies:
                reply = json.loads(replies.readline())
        except TimeoutError:
            raise CommandFailed(f"the server does not answer within {patience:g} seconds") from None
        except (OSError, ValueError):
            raise CommandFailed("the server ended before it replied") from None
    if "error" in reply:
        raise CommandFailed(reply["error"])
    return CommandOutcome(tuple(reply["lines"]), reply["status"], reply.get("more"))
