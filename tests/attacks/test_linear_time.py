"""Messages built to be slow: four times as much must not take much more than four times as long.

Ten thousand parts, a thousand levels of them, a header of ten megabytes, in large pieces and small; what
takes quadratic time for such takes sixteen times as long, and here more than ten fails.
"""

import time
from collections.abc import Callable

import attrs
import pytest

from tests.attacks.ways import BEGIN
from tests.corpus.generated import nested, parts
from tests.pop3.pop3_fakes import FakeServer as Pop3Server
from tests.pop3.pop3_fakes import maildrop_of
from tests.smtp.smtp_fakes import SETTINGS, FakeServer

LARGE = attrs.evolve(SETTINGS, max_message_size=1 << 30, max_recipients=1 << 30, max_errors=0)
MOST = 10.0

MESSAGES: dict[str, Callable[[int], bytes]] = {
    "10,000 parts": lambda times: parts(2500 * times),
    "1,000 levels": lambda times: nested(250 * times),
    "10,000 fields": lambda times: b"X-Field: value\r\n" * 2500 * times + b"\r\n",
    "a header of 10 MB in short lines": lambda times: (
        b"X-Field: " + b"folded\r\n more " * 180_000 * times + b"\r\n\r\n"
    ),
    "a header of 10 MB in one line": lambda times: b"X-Field: " + b"x" * 2_500_000 * times + b"\r\n\r\n",
    "a header of CRs": lambda times: b"X-Field: " + b"\r" * 100_000 * times + b"\r\n\r\n",
    "lines of one dot": lambda times: b"\r\n" + b".\r\n" * 100_000 * times,
    "almost the end": lambda times: b"\r\n" + b"\r\n.\r" * 50_000 * times + b"\r\n",
}


def seconds(work: Callable[[], object]) -> float:
    """CPU time, the least of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def check(work: Callable[[int], object]) -> None:
    """Compare ``work(1)`` and ``work(4)``; once more, if the machine was busy with something else."""
    for _ in range(3):
        # the constant is for what is too short to be measured
        if seconds(lambda: work(4)) < MOST * seconds(lambda: work(1)) + 0.01:
            return
    raise AssertionError("four times as much takes more than ten times as long")


@pytest.mark.parametrize("piece", [700, 65536])
@pytest.mark.parametrize("name", MESSAGES)
def test_taking_in(name: str, piece: int) -> None:
    given = {times: MESSAGES[name](times).replace(b"\r\n.", b"\r\n..") for times in (1, 4)}
    # small pieces cost their number; a shorter message will do
    texts = {
        times: text[: len(text) // (1 if piece > 1000 else 8)] + b"\r\n.\r\n" for times, text in given.items()
    }

    def work(times: int) -> None:
        server = FakeServer(LARGE)
        server.feed(BEGIN)
        text = texts[times]
        for start in range(0, len(text), piece):
            server.feed(text[start : start + piece])
        assert not server.session.in_transaction

    check(work)


@pytest.mark.parametrize("command", [b"RETR 1\r\n", b"TOP 1 0\r\n", b"TOP 1 1000000\r\n"])
@pytest.mark.parametrize("name", MESSAGES)
def test_handing_out(name: str, command: bytes) -> None:
    drops = {times: maildrop_of([MESSAGES[name](times)]) for times in (1, 4)}

    def work(times: int) -> None:
        server = Pop3Server(messages=drops[times], piece=65536).logged_in()
        assert server.feed(command).endswith(b"\r\n.\r\n")

    check(work)


COMMANDS = {
    "NOOPs": b"NOOP\r\n",
    "bad lines": b"\0\r\n",
    "overlong lines": b"x" * 700 + b"\r\n",
    "recipients": b"RCPT TO:<bob@example.org>\r\n",
    "quoted recipients": b'RCPT TO:<"' + b"\\x" * 120 + b'"@example.org>\r\n',
    "transactions": b"RSET\r\nMAIL FROM:<a@b.example>\r\n",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_in_one_write(name: str) -> None:
    def work(times: int) -> None:
        server = FakeServer(LARGE)
        server.feed(BEGIN.removesuffix(b"DATA\r\n"))
        assert server.feed(COMMANDS[name] * 1000 * times).count(b"\r\n") >= 1000 * times

    check(work)
