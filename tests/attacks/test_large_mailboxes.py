"""A mailbox of 100,000 messages, used as heavily as one client can, and how long others wait meanwhile."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.attacks.probe import STALL, longest_wait
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, Server

COUNT = 101_000  # no listing of so many is kept for the next session
MESSAGE = b"Subject: hello\r\n\r\n" + b"line\r\n" * 30
SIZES = f",S={len(MESSAGE)},W={len(MESSAGE)}"


def fill(server: Server) -> Mailbox:
    """One file with very many names."""
    alice = Mailbox(server, "alice")
    alice.fill(b"Subject: first\r\n\r\n")
    box = server.data / "mail/example.org/alice/cur"
    for number in range(COUNT - 1):
        path = box / f"1700000000.M000001P1Q{number}R0123456789ab.mail.example.org{SIZES}:2,S"
        if number % 30_000 == 0:  # file systems limit the names of a file
            source = path
            source.write_bytes(MESSAGE)
        else:
            os.link(source, path)
    return alice


def pipelined(session: Pop3, command: bytes, count: int, multi: bool = False) -> None:
    """Send all at once, and read all answers."""
    sender = threading.Thread(target=session.socket.sendall, args=(command * count,))
    sender.start()
    for _ in range(count * command.count(b"\n")):
        assert session.line().startswith(b"+OK")
        while multi and session.line() != b".":
            pass
    sender.join()


ATTACKS: dict[str, Callable[[Pop3], None]] = {
    "2,000 RSETs": lambda session: pipelined(session, b"RSET\r\n", 2000),
    "UIDL": lambda session: pipelined(session, b"UIDL\r\n", 3, multi=True),
    "LIST": lambda session: pipelined(session, b"LIST\r\n", 3, multi=True),
    "TOP 2 0": lambda session: pipelined(session, b"TOP 2 0\r\n", 7222, multi=True),
    "DELE and RSET": lambda session: pipelined(session, b"DELE 1\r\nRSET\r\n", 1000),
}


@pytest.fixture
def alice(make_server: Makes) -> Iterator[Mailbox]:
    yield fill(make_server().start())


@pytest.mark.slow
def test_nobody_waits_for_a_large_mailbox(alice: Mailbox) -> None:
    waits = {}

    def log_in() -> None:
        with alice.login() as session:
            session.expect(b"QUIT", b"+OK")

    waits["login"] = longest_wait(alice.server, log_in)
    with alice.login() as session:
        for name, attack in ATTACKS.items():
            waits[name] = longest_wait(alice.server, lambda attack=attack: attack(session))  # type: ignore[misc]
        assert session.ask(b"STAT").startswith(b"+OK %d " % COUNT)
    assert {name: wait for name, wait in waits.items() if wait >= STALL} == {}
