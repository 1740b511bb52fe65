"""The control channel: its socket, its requests and its replies.

The channel is the unix socket ``DATA/control.sock``, for the server's user and root alone. Requests
and replies alternate, each one JSON object on a line; there may be several of them:

    request = { "command": NAME, … }           ; further members are the command's arguments
    reply   = { "lines": [ TEXT, … ], "status": NUMBER }   ; the exit status of the command
            / { "lines": [ TEXT, … ], "status": 0, "more": POSITION }
            / { "error": TEXT }                ; one line

A request may come with the descriptor of a file (SCM_RIGHTS, unix(7)); the command finds the open file in the
member ``content``.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from mailserver.errors import MailserverError

SOCKET = "control.sock"
MAX_LINE = 8 << 20  # octets of a request: a file of accounts fits
CONTENT = "content"  # the member for the open file
MAX_NAME = 103  # octets of a path in the address of a socket, on every usual system (unix(7))

Request = Mapping[str, object]


@attrs.frozen
class CommandOutcome:
    """The output of a command, and its exit status.

    ``more``: the command is not finished. The same request with this value as its ``more`` continues it.
    """

    lines: tuple[str, ...]
    status: int = 0
    more: Any = None


Command = Callable[[Request], "CommandOutcome | Awaitable[CommandOutcome]"]


class CommandFailed(MailserverError):
    """A command failed; the text, one line, is the reason."""


@contextlib.contextmanager
def socket_name(path: Path) -> Iterator[str]:
    """The path of a socket to bind or to connect to; one that is too long goes by its folder's descriptor."""
    if len(os.fsencode(path)) <= MAX_NAME:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
