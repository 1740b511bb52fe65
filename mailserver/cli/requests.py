"""Requests, which the running server performs, or this process if no server runs."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailserver.config.loader import load_data_directory
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.control.client import ask
from mailserver.errors import DataInUse, storage_error

PATIENCE = 10.0  # seconds to wait for a server that starts or stops, or for another command


def data_folder(path: Path) -> Path:
    """The data directory of a configuration file. Raises :class:`~mailserver.errors.ConfigurationError`."""
    return load_data_directory(path, os.environ)


def ask_server(path: Path, request: Request) -> CommandOutcome:
    """Let the running server perform a request that only a server can.

    Raises :class:`~mailserver.errors.MailserverError`, also if no server runs.
    """
    data = data_folder(path)
    outcome = ask(data, request)
    if outcome is None:
        raise CommandFailed(f"no server runs on {data}")
    return outcome


def perform(data: Path, request: Request, *, stay_root: bool = False) -> CommandOutcome:
    """Let the running server perform a request, or perform it here, under the lock of the data directory.

    To perform it here, root becomes the owner of the data, for good unless ``stay_root``. Raises
    :class:`~mailserver.errors.MailserverError`.
    """
    deadline = time.monotonic() + PATIENCE
    while (outcome := ask(data, request)) is None:
        try:
            return _perform_here(data, request, stay_root)
        except DataInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    return outcome


def rehearse(data: Path, request: Request) -> CommandOutcome:
    """Check a request that will be completed and performed later.

    Raises :class:`~mailserver.errors.MailserverError`.
    """
    request = {**request, "rehearse": True}
    outcome = ask(data, request)
    if outcome is None:
        from mailserver.app import offline

        owner(data)
        outcome = offline.rehearse(data, request)
    return outcome


def _perform_here(data: Path, request: Request, stay_root: bool) -> CommandOutcome:
    # This import is slow, and a running server makes it unnecessary. It comes before privileges are dropped,
    # because the owner of the data may not be able to read the program.
    from mailserver.app import offline
    from mailserver.app.data import data_lock, require_format

    try:
        perform = offline.PREPARE[str(request["command"])](data, request)
        if stay_root:
            with as_owner(data), data_lock(data):
                return perform()
        become_owner(data)
        with data_lock(data):
            require_format(data)
            return perform()
    except OSError as error:
        raise storage_error(error) from error


def become_owner(data: Path) -> None:
    """Change from root to the owner of the data directory: new files must belong to the server's user."""
    status = owner(data)
    if os.geteuid() == 0 and status.st_uid != 0:
        os.setgroups([])
        os.setgid(status.st_gid)
        os.setuid(status.st_uid)


@contextmanager
def as_owner(data: Path) -> Iterator[None]:
    """For root: act as the owner of the data directory, and as root again afterwards.

    For a command that reads or writes other files as root. New files in the data belong to the owner.
    """
    status = owner(data)
    if os.geteuid() != 0 or status.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def owner(data: Path) -> os.stat_result:
    """The status of the data directory, with its owner."""
    try:
        return data.stat()
    except FileNotFoundError:
        raise CommandFailed(
            f"{data} does not exist yet: start the server once, or create it for the server's user"
        ) from None
