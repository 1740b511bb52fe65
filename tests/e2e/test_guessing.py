"""Guessing passwords, from one address or many: it becomes slow, then it is in vain, and the owner notices
nothing. And the files that would make guessing needless: they are for the server's user alone.
"""

import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from tests.tls_material import make_ca

from .conftest import Makes
from .dialogue import HOSTNAME, Dialogue, Smtp
from .server import PASSWORD, ROOT, Server, configuration, launch_python
from .test_control import run
from .test_limits import LISTEN, LimitedServer, Pop3From, SmtpFrom, credentials

REFUSED = b"535 5.7.8 the name and the password do not fit"
WELCOME = b"235 "
NAMES = [f"user{number}" for number in range(60)]
HASHED = ["owner", "target"]
LIMITS = """
auth_failure_delay = "50ms"
auth_failures = 3
auth_block_after = 10
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    hashed = PasswordHasher().hash(PASSWORD)  # with the parameters of people who set none
    server = LimitedServer(
        tmp_path_factory.mktemp("guarded"),
        accounts=[*NAMES, *HASHED],
        passwords=dict.fromkeys(HASHED, hashed),
        tables="",
    )
    yield from server.serve()


def guess(server: Server, host: str, name: str, password: str = "wrong") -> bytes:
    """One attempt in a connection of its own."""
    with SmtpFrom(server.smtp, host) as session:
        session.expect(b"EHLO client.example", b"250")
        return session.ask(b"AUTH PLAIN " + credentials(name, password))


def attempt(session: Dialogue, name: str) -> bytes:
    if isinstance(session, Smtp):
        return session.ask(b"AUTH PLAIN " + credentials(name, "wrong"))
    session.expect(b"USER " + name.encode(), b"+OK")
    return session.ask(b"PASS wrong")


@pytest.mark.parametrize("kind", [SmtpFrom, Pop3From])
def test_three_in_one_connection(guarded: LimitedServer, kind: type[SmtpFrom] | type[Pop3From]) -> None:
    """Each takes twice as long as the one before; with the third the connection is closed."""
    guarded.limit(LIMITS)
    here, there = guarded.hosts(2)
    address = guarded.address("smtp" if issubclass(kind, Smtp) else "pop3")
    with kind(address, here) as session:
        if isinstance(session, Smtp):
            session.expect(b"EHLO client.example", b"250")
        replies, times = [], []
        for _ in range(3):
            began = time.monotonic()
            replies.append(attempt(session, "user0"))
            times.append(time.monotonic() - began)
        assert session.rest() == b""
    assert all(taken >= delay for taken, delay in zip(times, (0.05, 0.1, 0.2), strict=True)), times
    smtp = isinstance(session, Smtp)
    assert set(replies[:2]) == {REFUSED if smtp else b"-ERR [AUTH] wrong user name or password"}
    assert replies[2].startswith(b"421 4.7.0 too many failed logins" if smtp else b"-ERR "), replies[2]
    events = guarded.events("accounts")
    assert [(event["client"], event["user"]) for event in events] == [(here, "user0@example.org")] * 3
