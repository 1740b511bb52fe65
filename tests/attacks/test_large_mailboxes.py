"""A mailbox of 100,000 messages, used as heavily as one client can, and how long others wait meanwhile."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import Makes
from tests.e2e.dialogue import Pop3, Smtp
from tests.e2e.mailbox import Mailbox
from tests.e2e.server import Server

COUNT = 101_000  # no listing of so many is kept for the next session
# Seconds that a NOOP may take. On an idle machine it is far below 100 ms; tests share theirs.
STALL = 0.25
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


class Probe(threading.Thread):
    """Another client, which says NOOP again and again; ``longest`` is the longest wait for an answer."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.longest = 0.0
        self._session = Smtp(server.smtp)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.002):
            start = time.perf_counter()
            self._session.expect(b"NOOP", b"250 ")
            self.longest = max(self.longest, time.perf_counter() - start)

    def end(self) -> float:
        self._over.set()
        self.join()
        self._session.close()
        return self.longest


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
    "DELE and RSET": lambda session: pipelined(session, b"DELE 1\r\nRSET\r\n", 1000),
}


@pytest.fixture
def alice(make_server: Makes) -> Iterator[Mailbox]:
    yield fill(make_server().start())


@pytest.mark.slow
def test_nobody_waits_for_a_large_mailbox(alice: Mailbox) -> None:
    waits = {}

    def watched(name: str, work: Callable[[], object]) -> None:
        for _ in range(3):  # the machine may be busy with something else
            probe = Probe(alice.server)
            probe.start()
            work()
            waits[name] = probe.end()
            if waits[name] < STALL:
                break

    def log_in() -> None:
        with alice.login() as session:
            session.expect(b"QUIT", b"+OK")

    watched("login", log_in)
    with alice.login() as session:
        for name, attack in ATTACKS.items():
            watched(name, lambda attack=attack: attack(session))
        assert session.ask(b"STAT").startswith(b"+OK %d " % COUNT)
    assert {name: wait for name, wait in waits.items() if wait >= STALL} == {}
