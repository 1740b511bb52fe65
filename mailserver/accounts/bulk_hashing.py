"""Hashes the passwords of many new accounts on all cores, in the process of the import command.

Each hash takes long on purpose. The command runs with a lower priority than a server on the same machine, and
sends the hashes to that server as JSON.
"""

import base64
import contextlib
import os
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from mailserver.accounts.credentials import StoredCredentials, make_credentials
from mailserver.accounts.passwords import StoredPassword
from mailserver.errors import AccountError
from mailserver.sasl.steps import ScramKeys

NICE = 10  # see setpriority(2)
LONGEST = 1200  # octets of what :func:`to_json` makes, with the keys of all mechanisms


def hash_all(
    passwords: Mapping[int, str],
    mechanisms: Collection[str],
    progress: Callable[[int], object] = lambda number: None,
) -> dict[int, StoredCredentials]:
    """The credentials for each password; see :func:`~mailserver.accounts.credentials.make_credentials`.

    Invalid passwords are left out. ``progress`` is called with the number of hashed passwords, at least once
    a second.
    """
    made: dict[int, StoredCredentials] = {}
    # Hashing releases the interpreter, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count(), "hashing", _lower_priority) as threads:
        running: dict[Future[StoredCredentials], int] = {
            threads.submit(partial(make_credentials, password, mechanisms)): number
            for number, password in passwords.items()
        }
        try:
            while running:
                done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                for one in done:
                    number = running.pop(one)
                    with contextlib.suppress(AccountError):
                        made[number] = one.result()
                progress(len(passwords) - len(running))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return made


def _lower_priority() -> None:
    # On Linux this applies to the current thread, and to the threads that it starts.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def to_json(made: StoredCredentials) -> dict[str, object]:
    """Credentials with a password, in the form that :func:`from_json` reads."""
    assert made.password is not None
    scram = {
        name: [_base64(keys.salt), keys.iterations, _base64(keys.stored_key), _base64(keys.server_key)]
        for name, keys in made.scram.items()
    }
    return {"password": made.password.text, "scram": scram, "secret": made.secret}


def from_json(value: Any) -> StoredCredentials:
    """The inverse of :func:`to_json`. Raises :class:`~mailserver.errors.AccountError`."""
    try:
        scram = {
            str(name): ScramKeys(_octets(salt), int(iterations), _octets(stored), _octets(server))
            for name, (salt, iterations, stored, server) in value["scram"].items()
        }
        password = StoredPassword.read(value["password"])
        if not password.sound or not (value["secret"] is None or isinstance(value["secret"], str)):
            raise ValueError
        return StoredCredentials(password, scram, value["secret"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise AccountError("the credentials in the request are damaged") from None


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _octets(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
