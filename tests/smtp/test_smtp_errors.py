"""What counts as wrong, and when it ends the session: refused names are forgiven, but not without end."""

import attrs
import pytest

from tests.support.smtp import SETTINGS, FakeServer

HELLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<a@b.example>\r\n"
BOB = b"RCPT TO:<bob@example.org>\r\n"
ELSEWHERE = b"RCPT TO:<x@elsewhere.example>\r\n"
MOVED = b"RCPT TO:<moved@example.org>\r\n"
TEXT = b"DATA\r\nSubject: x\r\n\r\n.\r\n"
TOO_MANY = "421 4.7.0"


def codes(stream: bytes, max_errors: int = 20) -> list[str]:
    """The codes of all replies, EHLO's left out."""
    server = FakeServer(attrs.evolve(SETTINGS, max_errors=max_errors, verify="always"))
    said = server.feed(HELLO + stream).splitlines()
    return [line[:9].decode() for line in said if line[3:4] == b" " and line[4:6] != b"AU"][1:]


@pytest.mark.parametrize("refused", [ELSEWHERE, MOVED, b"VRFY nobody\r\n", b"EXPN nobody\r\n"])
def test_after_100_refused_names_each_counts(refused: bytes) -> None:
    before = codes(MAIL + refused * 119)
    assert len(before) == 120 and TOO_MANY not in before
    assert codes(MAIL + refused * 200) == [*before, TOO_MANY]


@pytest.mark.parametrize("refused", [1, 7, 100, 119])
def test_a_message_to_those_that_are_left_arrives(refused: int) -> None:
    answers = codes(MAIL + BOB + ELSEWHERE * refused + BOB + TEXT)
    assert answers[-3:] == ["250 2.1.5", "354 End d", "250 2.0.0"]


def test_a_good_message_makes_up_for_them() -> None:
    message = MAIL + ELSEWHERE * 110 + BOB + TEXT
    assert TOO_MANY not in codes(message * 5)


def test_they_count_beside_other_wrong_commands() -> None:
    assert codes(MAIL + b"WRONG\r\n" * 15 + ELSEWHERE * 200)[-2:] == ["550 5.7.1", TOO_MANY]
    assert len(codes(MAIL + b"WRONG\r\n" * 15 + ELSEWHERE * 200)) == 1 + 15 + 105


def test_without_a_limit_they_never_end_the_session() -> None:
    assert codes(MAIL + ELSEWHERE * 500 + b"NOOP\r\n", max_errors=0)[-1] == "250 2.0.0"


def test_recipients_beyond_the_most_of_a_message_do_not_count() -> None:
    server = FakeServer(attrs.evolve(SETTINGS, max_recipients=1))
    said = server.feed(HELLO + MAIL + BOB * 500 + TEXT)
    assert said.count(b"452 4.5.3 ") == 499 and len(server.kept) == 1
