"""What dialogues cannot show: events, failures outside, endings from this side."""

import attrs
import pytest

from mailserver.mail.address import Address
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    MAIL_SYSTEM,
    NOT_AUTHORIZED,
    Accept,
    Defer,
    Destination,
    Members,
    Refuse,
    Routed,
)
from mailserver.smtp.events import (
    MessageAborted,
    MessageChunk,
    MessageEnded,
    MessageStarted,
    RecipientOffered,
    SenderOffered,
)
from mailserver.smtp.replies import reply
from mailserver.smtp.session import SMTPSession
from tests.support.smtp import SETTINGS, FakeServer

BEGIN = b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"


def session_after(data: bytes) -> SMTPSession:
    session = SMTPSession(SETTINGS)
    session.receive(data)
    return session


def test_pipelined_commands_wait_for_the_verdict() -> None:
    session = session_after(b"HELO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nRSET\r\nNOOP\r\n")
    assert session.next_event() == SenderOffered(None, {}, "c.example", "SMTP") and session.paused
    assert session.next_event() is None
    assert session.take_output().endswith(b"250 mail.example.org\r\n")
    session.answer(Accept("Ok"))
    event = session.next_event()
    assert isinstance(event, RecipientOffered) and session.paused
    assert session.next_event() is None
    assert session.take_output().endswith(b"250 2.1.0 Ok\r\n")
    session.answer(Refuse(BAD_MAILBOX, "no such thing"))
    assert session.next_event() is None
    assert session.take_output() == b"550 5.1.1 no such thing\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"


def test_commands_behind_the_final_dot_wait_for_the_commit() -> None:
    server = FakeServer()
    server.feed(BEGIN)
    server.session.receive(b"text\r\n.\r\nNOOP\r\nQUIT\r\n")
    assert server.session.next_event() == MessageChunk(b"text\r\n")
    assert server.session.next_event() == MessageEnded(1)
    assert server.session.next_event() is None
    assert server.session.take_output() == b""
    server.session.answer(Accept("Ok: queued as 1"))
    assert server.session.next_event() is None
    assert server.session.take_output() == (
        b"250 2.0.0 Ok: queued as 1\r\n250 2.0.0 Ok\r\n221 2.0.0 mail.example.org closing the connection\r\n"
    )


@pytest.mark.parametrize(
    "commands", [BEGIN[:46], BEGIN[:-6], BEGIN + b"text\r\n.\r\n"], ids=["MAIL", "RCPT", "message"]
)
@pytest.mark.parametrize(
    ("verdict", "text", "ends"),
    [
        (Refuse(NOT_AUTHORIZED, "a\nb", code=554), b"554-5.7.1 a\r\n554 5.7.1 b\r\n", False),
        (Defer(MAIL_SYSTEM, "a\nb", code=452), b"452-4.3.0 a\r\n452 4.3.0 b\r\n", False),
        (Defer(MAIL_SYSTEM, "a", code=421), b"421 4.3.0 a\r\n", True),
    ],
)
def test_a_reply_with_a_code_of_its_own(
    commands: bytes, verdict: Defer | Refuse, text: bytes, ends: bool
) -> None:
    server = FakeServer()
    *before, last = commands.splitlines(keepends=True)
    server.feed(b"".join(before))
    server.session.receive(last + b"NOOP\r\n")
    while not server.session.awaited:
        server.session.next_event()
    server.session.take_output()
    server.session.answer(verdict)
    assert server.session.next_event() is None
    assert server.session.take_output() == text + (b"" if ends else b"250 2.0.0 Ok\r\n")
    assert server.session.closed == ends


def test_the_parts_of_the_envelope_are_events() -> None:
    session = session_after(
        b"EHLO [192.0.2.1]\r\nMAIL FROM:<> body=8bitmime\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    )
    assert session.next_event() == SenderOffered(None, {"BODY": "8bitmime"}, "[192.0.2.1]", "ESMTP")
    session.answer(Accept("Ok"))
    bob = Address("bob", "example.org")
    assert session.next_event() == RecipientOffered(bob, {})
    session.answer(Routed((Destination(bob, bob),)))
    assert session.next_event() == MessageStarted()


def test_a_failure_outside_is_451_and_the_session_lives() -> None:
    server = FakeServer()
    server.feed(b"HELO c.example\r\n")
    session = server.session
    for command in (b"MAIL FROM:<>\r\n", b"RCPT TO:<bob@example.org>\r\n"):
        session.receive(command)
        assert session.next_event() is not None
        session.fail()
        assert session.next_event() is None
        assert session.take_output().startswith(b"451 4.3.0 ")
        assert server.feed(b"NOOP\r\n") == b"250 2.0.0 Ok\r\n"
        # Nothing has changed: it can be tried again.
        assert server.feed(command).startswith(b"250 ")


def test_a_failure_while_the_text_arrives_is_told_at_its_end() -> None:
    server = FakeServer()
    server.feed(BEGIN + b"one\r\n")
    server.session.fail()
    assert isinstance(server.session.next_event(), MessageAborted)
    server.session.fail()
    server.session.receive(b"RSET\r\n.\r\nNOOP\r\n")
    assert server.session.next_event() is None
    first, second = server.session.take_output().splitlines()
    assert first.startswith(b"451 4.3.0 ")
    assert second == b"250 2.0.0 Ok"


def test_disconnect_says_why_once() -> None:
    session = session_after(b"HELO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nNOOP\r\n")
    session.next_event()
    session.take_output()
    session.disconnect(reply(421, "4.3.2", "going down"))
    session.disconnect(reply(421, "4.3.2", "going down"))
    session.receive(b"NOOP\r\n")
    assert session.next_event() is None
    assert session.take_output() == b"421 4.3.2 going down\r\n"
    assert session.closed and not session.busy


def test_a_verdict_that_cannot_be_said_is_still_awaited() -> None:
    session = SMTPSession(attrs.evolve(SETTINGS, verify="always"))
    session.receive(b"EXPN club\r\nNOOP\r\n")
    session.next_event()
    with pytest.raises(ValueError):
        session.answer(Members(()))
    session.fail()
    assert session.next_event() is None
    first, second = session.take_output().splitlines()
    assert first.startswith(b"451 4.3.0 ") and second == b"250 2.0.0 Ok"


def test_a_verdict_nobody_asked_for_is_a_mistake() -> None:
    with pytest.raises(RuntimeError):
        SMTPSession(SETTINGS).answer(Accept("no"))


@pytest.mark.parametrize(
    ("count", "where", "answer"),
    [
        (99, b"", b"250"),
        (100, b"", b"554 5.4.6"),
        (100, b"\r\n", b"250"),
        (50, b"X: y\r\nRECEIVED : z\r\n" * 50, b"554"),
    ],
)
def test_hops_are_counted_in_the_head_alone(count: int, where: bytes, answer: bytes) -> None:
    text = (
        where
        + b"Received: from a by b\r\n\twith Received: inside\r\n" * count
        + b"\r\nReceived: body\r\n.\r\n"
    )
    for size in (1, 7, 1000, len(text)):
        server = FakeServer()
        server.feed(BEGIN)
        said = b"".join([server.feed(text[i : i + size]) for i in range(0, len(text), size)])
        assert said.startswith(answer)


@pytest.mark.parametrize("octets", [16383, 16384, 16385, 70_000])
def test_a_long_line_of_text_is_text(octets: int) -> None:
    """Beyond 16 KiB the server of ``twisted.mail`` was in command mode again."""
    text = b"x" * octets + b"\r\nMAIL FROM:<evil@b.example>\r\nRSET\r\nQUIT\r\n"
    for piece in (1000, len(text) + 3):
        server = FakeServer()
        for start in range(0, len(BEGIN + text) + 3, piece):
            server.feed((BEGIN + text + b".\r\n")[start : start + piece])
        assert [kept.content for kept in server.kept] == [text]


def test_an_oversize_message_is_dropped_at_once() -> None:
    server = FakeServer(attrs.evolve(SETTINGS, max_message_size=1000))
    server.feed(BEGIN + b"x" * 990)
    assert server.aborted == 0
    server.feed(b"x" * 20)
    assert server.aborted == 1


def test_reply_text_is_printable_ascii() -> None:
    assert reply(550, "5.1.1", "a\r\nb\x1b[31m\xfc").octets == b"550 5.1.1 a??b?[31m?\r\n"
    assert len(reply(250, "2.0.0", "x" * 2000).octets) <= 512
