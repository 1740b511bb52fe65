"""Names and passwords that grow when they are prepared (RFC 4013), and logins that are malformed."""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.e2e.dialogue import Dialogue, Pop3, Smtp
from tests.support.e2e.server import Server, configuration
from tests.support.runs import rest_slow

ATTACKERS = 20
SECONDS = 1.0
# Seen on two cores that many others used: 0.2 to 0.9 s; before lengths were bounded, 2.4 to 13 s.
LONGEST = 2.3
EXPANDS = "\ufdfa".encode()  # three octets that become eighteen characters


def plain(name: bytes, password: bytes) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(b"\0" + name + b"\0" + password) + b"\r\n"


ATTACKS: dict[str, tuple[type[Smtp] | type[Pop3], bytes]] = {
    "as long as may be": (Smtp, plain(EXPANDS * 14, EXPANDS * 341)),
    "PASS": (Pop3, b"USER alice\r\nPASS " + EXPANDS * 4000 + b"\r\n"),
    "12 KB of it": (Smtp, plain(b"alice", EXPANDS * 3000)),
    "names alone": (Smtp, plain(EXPANDS * 85, b"wrong")),
    "no UTF-8": (Smtp, plain(b"alice", b"\xff" * 9000)),
    "SCRAM": (Pop3, b"AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=" + EXPANDS * 2900 + b",r=a") + b"\r\n"),
}


@contextmanager
def attackers(server: Server, kind: type[Smtp] | type[Pop3], line: bytes) -> Iterator[list[int]]:
    """Connections that send the line again and again, without a pause; how often each was answered."""
    over = threading.Event()
    answered = [0] * ATTACKERS

    def attack(number: int, session: Dialogue) -> None:
        while not over.is_set():
            session.send(line)
            for _ in range(line.count(b"\r\n")):
                reply = session.reply()
            assert reply.startswith((b"500 5.5.6 ", b"501 5.5.2 ", b"535 ", b"-ERR ")), reply
            answered[number] += 1

    with ExitStack() as stack:
        threads = []
        for number in range(ATTACKERS):
            session = stack.enter_context(kind(server.smtp if kind is Smtp else server.pop3))
            if kind is Smtp:
                session.expect(b"EHLO client.example", b"250")
            threads.append(threading.Thread(target=attack, args=(number, session)))
        for thread in threads:
            thread.start()
        try:
            yield answered
        finally:
            over.set()
            for thread in threads:
                thread.join()


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which nothing but the work itself slows an attack down."""
    mechanisms = '[auth]\nmechanisms = ["PLAIN", "SCRAM-SHA-256"]\n'
    limits = (
        "[limits]\nauth_failures = 0\nauth_block_after = 0\n[smtp]\nplaintext_auth = true\nmax_errors = 0"
    )
    config = configuration(accounts=["alice"], tables=mechanisms + limits)
    yield from Server(tmp_path_factory.mktemp("unlimited"), config).serve()


@pytest.mark.parametrize(("kind", "line"), rest_slow(ATTACKS.values(), first=2), ids=ATTACKS)
def test_nobody_waits_for_what_is_prepared(
    kind: type[Smtp] | type[Pop3], line: bytes, unlimited: Server
) -> None:
    with Smtp(unlimited.smtp) as probe:
        waits = []
        with attackers(unlimited, kind, line) as answered:
            end = time.monotonic() + SECONDS
            while (began := time.monotonic()) < end or (not min(answered) and began < end + 60):
                probe.expect(b"NOOP", b"250 2.0.0")
                waits.append(time.monotonic() - began)
                time.sleep(0.01)
        assert min(answered) > 0, "somebody was not at work"
        assert max(waits) < LONGEST, sorted(waits)[-5:]
