"""The command's side of the control channel: a running server is asked; without one, the data is opened.

No reactor: a command asks once and waits for the reply.
"""

import json
import os
import socket
import time
from pathlib import Path

from mailserver.admin.channel import SOCKET, CommandFailed, Outcome, Request, socket_name
from mailserver.config.kinds import At
from mailserver.config.loader import load, read_tree
from mailserver.config.model import CONFIG
from mailserver.config.problems import Refused, Wrong
from mailserver.config.sources import given
from mailserver.errors import DataInUse, storage_error

PATIENCE = 10.0  # seconds to wait for a server that starts or stops, or for another command


def data_folder(path: Path) -> Path:
    """The data directory of a configuration, whatever else is wrong in that.

    The rest is for the server to judge, which may have been started with other options. Raises
    :class:`~mailserver.errors.ConfigurationError`.
    """
    try:
        tree = read_tree(path)
        named = {"data": tree["data"]} if "data" in tree else {}
        for item in given(os.environ, {})[0]:
            if item.path == "data":
                named["data"] = item.value()
        return CONFIG.read(named, At(folder=path.absolute().parent)).data
    except (Refused, Wrong):
        # It has the words for each of these.
        return load(path, os.environ).data


def ask(data: Path, request: Request) -> Outcome | None:
    """Have the running server do it; None if none runs. Waits as long as it takes.

    Raises :class:`~mailserver.admin.channel.CommandFailed` with what the server says, or why it
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
    return Outcome(tuple(reply["lines"]), reply["status"])


def perform(data: Path, request: Request) -> Outcome:
    """Have the running server do it, or do it here, under the lock of the data, if none runs.

    Raises :class:`~mailserver.errors.MailserverError`.
    """
    deadline = time.monotonic() + PATIENCE
    while (outcome := ask(data, request)) is None:
        try:
            return _alone(data, request)
        except DataInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    return outcome


def rehearse(data: Path, request: Request) -> Outcome:
    """Have a request judged that is to be completed and performed later.

    Raises :class:`~mailserver.errors.MailserverError`.
    """
    request = {**request, "rehearse": True}
    outcome = ask(data, request)
    if outcome is None:
        from mailserver import service

        _owner(data)
        outcome = service.rehearse(data, request)
    return outcome


def _alone(data: Path, request: Request) -> Outcome:
    # Much to import, and not needed where a server runs. Before privileges are given up: whoever
    # owns the data may not be able to read the program.
    from mailserver import service

    try:
        perform = service.WITHOUT_SERVER[str(request["command"])](data, request)
        _become_owner(data)
        with service.lock(data):
            return perform()
    except OSError as error:
        raise storage_error(error) from error


def _become_owner(data: Path) -> None:
    """As root, go on as the owner of the data: what is made there must be the server's."""
    owner = _owner(data)
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _owner(data: Path) -> os.stat_result:
    try:
        return data.stat()
    except FileNotFoundError:
        raise CommandFailed(
            f"{data} does not exist yet: start the server once, or make it for the user the server runs as"
        ) from None
