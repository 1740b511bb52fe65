"""What goes wrong in the servers and clients of ``twisted.mail``, each tried on ours.

Read and run at Twisted 26.10.0: a long text line turned the rest of a message into commands, pipelined
commands overtook their own decisions, parameters of MAIL and RCPT were dropped, dots at the edges of pieces
were not stuffed, ``DELE 0`` deleted the last message, and DELE deleted at once.
"""

import re

import attrs
import pytest

from mailserver.wire.dots import DotDecoder, DotEncoder
from tests.support.attacks.ways import BEGIN, HELLO, MAIL, RCPT, in_every_way, pop3, smtp
from tests.support.attacks.wires import SlowPop3, SlowSmtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.pop3 import FakeServer as Pop3Server
from tests.support.pop3 import maildrop_of, message_of
from tests.support.smtp import SETTINGS


@pytest.mark.parametrize("octets", [16383, 16384, 16385, 20_000, 70_000])
def test_a_text_line_over_16_kib_does_not_end_the_text(octets: int) -> None:
    """twisted.protocols.basic calls lineLengthExceeded, and the SMTP server was in command mode again."""
    text = b"x" * octets + b"\r\nMAIL FROM:<evil@b.example>\r\nRSET\r\nQUIT\r\n"
    outcome = smtp(text + b".\r\nNOOP\r\n", begin=BEGIN)
    assert outcome.codes == ["250 2.0.0", "250 2.0.0"]
    assert outcome.contents == [text]


def test_pipelined_recipients_are_decided_and_answered_one_after_the_other() -> None:
    recipients = b"".join(
        b"RCPT TO:<%s@example.org>\r\n" % name for name in (b"a", b"nobody", b"b", b"nobody")
    )
    attack = HELLO + MAIL + recipients + b"DATA\r\ntext\r\n.\r\nQUIT\r\n"

    def play(pieces: list[bytes]) -> list[list[bytes]]:
        server = SlowSmtp()
        for piece in pieces:
            server.connection.dataReceived(piece)
        heard = [server.codes()]
        while server.router.waiting:
            assert len(server.router.waiting) == 1
            server.router.answer()
            heard.append(server.codes())
        [message] = server.spool.messages
        assert [recipient.local for recipient in message.envelope.recipients] == ["a", "b"]
        message.commits.callback(None)
        return [*heard, server.codes()]

    assert in_every_way(attack, play) == [
        [b"250 HELP", b"250 2.1.0"],
        [b"250 2.1.5"],
        [b"550 5.1.1"],
        [b"250 2.1.5"],
        [b"550 5.1.1", b"354 End d"],
        [b"250 2.0.0", b"221 2.0.0"],
    ]


def test_commands_pipelined_behind_a_login_wait_for_it() -> None:
    attack = b"USER alice\r\nPASS secret\r\nSTAT\r\nDELE 1\r\nRETR 2\r\nQUIT\r\nSTAT\r\n"

    def play(pieces: list[bytes]) -> tuple[bytes, bytes, list[int]]:
        server = SlowPop3()
        for piece in pieces:
            server.connection.dataReceived(piece)
        before = server.wire.said()
        server.opening.callback(server.maildrop)
        return before, server.wire.said(), server.maildrop.removed

    before, after, removed = in_every_way(attack, play)
    assert before == b"+OK send the password\r\n"
    lines = after.splitlines()
    assert [line[:5] for line in lines] == [
        *(b"+OK a", b"+OK 2", b"+OK m"),  # PASS, STAT, DELE
        *(b"+OK 1", b"Subje", b"", b"."),  # RETR
        b"+OK m",  # QUIT
    ]
    assert removed == [0]


@pytest.mark.parametrize(
    ("begin", "command", "code"),
    [
        (HELLO, b"MAIL FROM:<a@b.example> SIZE=1001", "552 5.3.4"),
        (HELLO, b"MAIL FROM:<a@b.example> SIZE=1000 SIZE=1", "501 5.5.4"),
        (HELLO, b"MAIL FROM:<a@b.example> BODY=9BIT", "501 5.5.4"),
        (HELLO, b"MAIL FROM:<a@b.example> X-UNKNOWN", "555 5.5.4"),
        (HELLO, b"MAIL FROM:<a@b.example> SIZE=1 X-UNKNOWN=1", "555 5.5.4"),
        (HELLO, b"MAIL FROM:<a@b.example>SIZE=1", "501 5.5.4"),
        (HELLO + MAIL, b"RCPT TO:<bob@example.org> X-UNKNOWN", "555 5.5.4"),
        (HELLO + MAIL, b"RCPT TO:<bob@example.org> SIZE=1", "555 5.5.4"),
    ],
)
def test_parameters_are_not_ignored(begin: bytes, command: bytes, code: str) -> None:
    """What a server does not honour it must not accept: the client would rely on it."""
    settings = attrs.evolve(SETTINGS, max_message_size=1000)
    before = smtp(b"NOOP\r\n", begin=begin, settings=settings).phase
    outcome = smtp(command + b"\r\n", begin=begin, settings=settings)
    assert (outcome.codes, outcome.phase) == ([code], before)


TEXTS = [
    b".", b"..", b".\r\n", b"\r\n.\r\n", b"a\r\n.b\r\n..\r\n.", b"\r\n\r\n.\r\n.\r\n..\r\n",
    b"\r.\r\n.\n.\r\r\n.", b".\r\n" * 200, b"x\r\n." * 100,
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:24]))
def test_a_dot_at_the_edge_of_two_pieces_is_stuffed(text: bytes) -> None:
    def play(pieces: list[bytes]) -> bytes:
        encoder = DotEncoder()
        return b"".join([encoder.feed(piece) for piece in pieces]) + encoder.finish()

    wire = in_every_way(text, play)
    ended = text if text.endswith(b"\r\n") else text + b"\r\n"
    stuffed = [b"." + line if line.startswith(b".") else line for line in ended.split(b"\n")[:-1]]
    assert wire == b"\n".join([*stuffed, b".\r", b""])
    # and it comes back as it was, but for dots behind a bare LF
    assert DotDecoder().feed(wire) == re.sub(rb"(?<!\r)\n\.", b"\n..", ended)
    for piece in range(1, 12):
        reader = Pop3Server(messages=maildrop_of([text]), piece=piece).logged_in()
        assert reader.feed(b"RETR 1\r\n").partition(b"\r\n")[2] == wire


def drop() -> Pop3Server:
    return Pop3Server(messages=maildrop_of([message_of(120), message_of(200)])).logged_in()


@pytest.mark.parametrize("number", [b"0", b"00", b"-1", b"-0", b"3", b"18446744073709551616"])
def test_no_number_reaches_a_message_from_behind(number: bytes) -> None:
    attack = b"".join(b"%s %s\r\n" % (verb, number) for verb in (b"DELE", b"RETR", b"LIST", b"UIDL"))
    said, removed = pop3(attack + b"TOP %s 0\r\nSTAT\r\nQUIT\r\n" % number, drop)
    assert [line[:4] for line in said[:5]] == [b"-ERR"] * 5
    assert said[5] == b"+OK 2 320"
    assert removed == ()


def test_dele_only_marks() -> None:
    """The message is there until QUIT: RSET brings it back, and a session that is cut has removed nothing."""
    said, removed = pop3(b"DELE 1\r\nDELE 2\r\nRSET\r\nSTAT\r\nDELE 2\r\nSTAT\r\n", drop)
    assert [line[:9] for line in said[3:]] == [b"+OK 2 320", b"+OK messa", b"+OK 1 120"]
    assert removed is None
    _, removed = pop3(b"DELE 2\r\nQUIT\r\n", drop)
    assert removed == (1,)


def test_dele_leaves_the_file_until_quit(mailbox: Mailbox) -> None:
    mailbox.fill(b"Subject: x\r\n\r\n")
    new = mailbox.server.data / "mail" / "example.org" / mailbox.name / "new"
    with mailbox.login() as session:
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"STAT", b"+OK 0 0")
        assert len(list(new.iterdir())) == 1
        session.expect(b"QUIT", b"+OK")
        assert list(new.iterdir()) == []


def test_rcpt_is_counted_from_the_decision() -> None:
    """No DATA gets in between a recipient and its refusal."""
    outcome = smtp(b"RCPT TO:<nobody@example.org>\r\nDATA\r\n" + RCPT + b"DATA\r\n.\r\n", begin=HELLO + MAIL)
    assert outcome.codes == ["550 5.1.1", "503 5.5.1", "250 2.1.5", "354", "250 2.0.0"]
