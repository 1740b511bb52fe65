"""Guessing passwords, from one address or many: it becomes slow, then it is in vain, and the owner notices
nothing.
"""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from tests.support.e2e.dialogue import Dialogue, Smtp
from tests.support.e2e.limited import LimitedServer, Pop3From, SmtpFrom, credentials
from tests.support.e2e.processes import cpu_seconds
from tests.support.e2e.server import PASSWORD, Server, wait_until

REFUSED = b"535 5.7.8 wrong user name or password"
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
    # argon2 as everywhere, but cheaper: the tests beside these want the processor, too
    hashed = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
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
    (here,) = guarded.hosts(1)
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
    assert [(event["client"], event["user"].partition("@")[0]) for event in events] == [(here, "user0")] * 3


def test_a_name_is_closed_to_an_address_and_to_no_other(guarded: LimitedServer) -> None:
    limits = 'auth_failure_delay = "0s"\nauth_failures = 0\nauth_block_after = 5\nauth_block = "{}"'
    guarded.limit(limits.format("1h"))
    here, there = guarded.hosts(2)
    with SmtpFrom(guarded.smtp, here) as session, Pop3From(guarded.pop3, here) as other:
        session.expect(b"EHLO client.example", b"250")
        for number in range(5):
            assert session.ask(b"AUTH PLAIN " + credentials("target", f"wrong{number}")) == REFUSED
        # the right password gets the same reply now, on all ports and by all names of the account
        assert session.ask(b"AUTH PLAIN " + credentials("target")) == REFUSED
        assert other.login("TARGET@Example.org", PASSWORD) == b"-ERR [AUTH] wrong user name or password"
        assert guess(guarded, there, "target", PASSWORD).startswith(WELCOME)
        assert guess(guarded, here, "owner", PASSWORD).startswith(WELCOME)
        [*_, event] = events = guarded.events("limits.auth_block")
        assert [event["client"] for event in events] == [here] * 2
        assert event["user"].lower() == "target@example.org"
        assert event["reason"] == "blocked after too many failed logins"
        guarded.limit(limits.format("1s"))
        again = b"AUTH PLAIN " + credentials("target")
        wait_until(lambda: session.ask(again).startswith(WELCOME), "the end of the block")


@pytest.mark.slow
def test_a_login_while_sixty_guess(guarded: LimitedServer) -> None:
    """Each of the sixty at an address of its own, without a pause but those that they are given.

    Half of the logins wait for less than a second of the server's work, whatever else the machine does.
    """
    guarded.limit(LIMITS.replace("50ms", "300ms"), tables='[auth]\nremember = "0s"')
    *hosts, own = guarded.hosts(61)
    over = threading.Event()
    counts = [0] * 60

    def guesses(number: int) -> None:
        with contextlib.suppress(OSError, EOFError):
            while not over.is_set():
                with SmtpFrom(guarded.smtp, hosts[number]) as session:
                    session.expect(b"EHLO client.example", b"250")
                    for _ in range(3):
                        session.ask(b"AUTH PLAIN " + credentials("target", f"wrong{time.monotonic()}"))
                        counts[number] += 1

    guessers = [threading.Thread(target=guesses, args=(number,)) for number in range(60)]
    for guesser in guessers:
        guesser.start()
    works = []
    for _ in range(5):
        time.sleep(0.2)
        began = cpu_seconds(guarded)
        reply = guess(guarded, own, "owner", PASSWORD)
        works.append(cpu_seconds(guarded) - began)
        assert reply.startswith(WELCOME)
    wait_until(lambda: min(counts) > 0, "all of them to be at work")
    over.set()
    for guesser in guessers:
        guesser.join(60)
    assert sorted(works)[2] < 1, works
