"""Sizes: command lines, recipients and declared sizes at their limits and far beyond, on the sessions alone.

What they cost a whole server is in ``test_floods``.
"""

import attrs
import pytest

from tests.support.attacks.ways import BEGIN, HELLO, MAIL, RCPT, pop3, smtp
from tests.support.pop3 import FakeServer as Pop3Server
from tests.support.smtp import SETTINGS, FakeServer


@pytest.mark.parametrize(("octets", "code"), [(511, "250"), (512, "250"), (513, "500"), (65536, "500")])
def test_a_command_line_of_so_many_octets(octets: int, code: str) -> None:
    """512 octets are a line, CRLF included; a longer one is one error, and what follows is in step."""
    line = b"NOOP " + b"x" * (octets - 7) + b"\r\n"
    assert len(line) == octets
    [first, second] = smtp(line + b"NOOP\r\n").codes
    assert (first[:3], second) == (code, "250 2.0.0")


def test_an_overlong_command_hides_no_second_one() -> None:
    """Neither what stands behind the limit nor the end of the line is a command."""
    hidden = b"x" * 510 + b"QUIT " + b"x" * 700 + b"\rQUIT\r" + b"\0" * 600 + b"\r\n"
    assert smtp(hidden + b"NOOP\r\n").codes == ["500 5.5.2", "250 2.0.0"]
    said, removed = pop3(
        b"NOOP " + b"x" * 250 + b"QUIT \rQUIT\r" + b"x" * 300 + b"\r\nCAPA x\r\n", Pop3Server
    )
    assert [line[:4] for line in said] == [b"-ERR", b"-ERR"]
    assert removed is None


@pytest.mark.parametrize("limit", [100, 101])
def test_a_hundred_recipients_are_taken_and_one_more_is_not(limit: int) -> None:
    """452 for each past the limit (RFC 5321 section 4.5.3.1.10); those before it keep their message."""
    attack = b"".join(b"RCPT TO:<bob@example.org>\r\n" for _ in range(103)) + b"DATA\r\nhi\r\n.\r\n"
    settings = attrs.evolve(SETTINGS, max_recipients=limit)
    outcome = smtp(attack, begin=HELLO + MAIL, settings=settings)
    over = 103 - limit
    assert outcome.codes == ["250 2.1.5"] * limit + ["452 4.5.3"] * over + ["354", "250 2.0.0"]
    assert [len(kept.started.recipients) for kept in outcome.kept] == [limit]


SIZES = {
    b"SIZE=18446744073709551616": "552 5.3.4",
    b"SIZE=9223372036854775808": "552 5.3.4",
    b"SIZE=99999999999999999999": "552 5.3.4",
    b"SIZE=1000000000000000000000": "501 5.5.4",
    b"SIZE=-1": "501 5.5.4",
    b"SIZE=+1": "501 5.5.4",
    b"SIZE=1e3": "501 5.5.4",
    b"SIZE=0x10": "501 5.5.4",
    b"SIZE=": "501 5.5.4",
    b"SIZE": "501 5.5.4",
    b"SIZE=1 SIZE=2": "501 5.5.4",
    b"SIZE=0": "250 2.1.0",
}


@pytest.mark.parametrize("parameter", SIZES, ids=ascii)
def test_a_declared_size(parameter: bytes) -> None:
    """A size past what an integer of 64 bits holds is a large one, not a small or negative one."""
    outcome = smtp(b"MAIL FROM:<a@b.example> " + parameter + b"\r\nNOOP\r\n", begin=HELLO)
    assert outcome.codes == [SIZES[parameter], "250 2.0.0"]


@pytest.mark.parametrize(
    ("octets", "code"), [(1000, "250 2.0.0"), (1001, "552 5.3.4"), (30_000, "552 5.3.4")]
)
def test_a_size_that_was_a_lie(octets: int, code: str) -> None:
    """SIZE=1, and then much more: the octets that arrive are counted, and the limit is the server's."""
    begin = HELLO + b"MAIL FROM:<a@b.example> SIZE=1\r\n" + RCPT + b"DATA\r\n"
    settings = attrs.evolve(SETTINGS, max_message_size=1000)
    outcome = smtp(b"x" * (octets - 2) + b"\r\n.\r\nNOOP\r\n", begin=begin, settings=settings)
    assert outcome.codes == [code, "250 2.0.0"]
    assert len(outcome.kept) == (code[0] == "2")


def test_an_oversize_message_is_dropped_at_once_and_not_kept_to_its_end() -> None:
    server = FakeServer(attrs.evolve(SETTINGS, max_message_size=1000))
    server.feed(BEGIN + b"x" * 990)
    assert server.aborted == 0
    server.feed(b"x" * 20)
    assert server.aborted == 1
