"""Any bytes in any pieces: no exception, one ordered reply for each command, and always the same."""

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.sasl.mechanisms import MECHANISMS
from mailserver.smtp.options import SMTPOptions
from tests.support.runs import examples
from tests.support.session_server import HANDSHAKE
from tests.support.smtp import FakeServer

SMALL = SMTPOptions(
    hostname="mail.example.org", domain="example.org", max_message_size=60, verify="always", max_errors=0,
    mechanisms=("LOGIN", "XOAUTH2"), plaintext_auth=True, starttls=True, max_login_failures=0,
)  # fmt: skip
LOOSE = SMTPOptions(
    hostname="mail.example.org", domain="example.org", bare_newline="normalize", hop_limit=2, max_errors=5,
    mechanisms=tuple(MECHANISMS), starttls=True, submission=True,
)  # fmt: skip
OPEN = SMTPOptions(
    hostname="mail.example.org", domain="example.org", mechanisms=tuple(MECHANISMS), plaintext_auth=True,
    starttls=True, max_errors=0, max_login_failures=3,
)  # fmt: skip
settings_of_any_kind = st.sampled_from([SMALL, LOOSE, OPEN])

# What a client says to log in: PLAIN for alice, the two responses of LOGIN, first messages of SCRAM and
# XOAUTH2, and what is wrong.
logins = st.builds(
    lambda name, response, end: b"AUTH " + name.encode() + response + end,
    st.sampled_from([*MECHANISMS, "plain", "NTLM", ""]),
    st.sampled_from([b"", b" ", b" =", b" AGFsaWNlAHNlY3JldA==", b" YWxpY2U=", b" biwsbj1hbGljZSxyPXg="]),
    st.sampled_from([b"\r\n", b"\r\n", b"\n", b""]),
)
responses = st.sampled_from(
    [
        b"*\r\n", b"=\r\n", b"AGFsaWNlAHNlY3JldA==\r\n", b"YWxpY2U=\r\n", b"c2VjcmV0\r\n", b"====\r\n",
        b"biwsbj1hbGljZSxyPXg=\r\n", b"dXNlcj0BYXV0aD1CZWFyZXIgeAEB\r\n", b"STARTTLS\r\n", HANDSHAKE,
        b"A" * 12287, b"POST / HTTP/1.1\r\n",
    ]
)  # fmt: skip

fragments = st.sampled_from(
    [
        b"EHLO client.example\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.example>\r\n",
        b"RCPT TO:<bob@example.org>\r\n",
        b"RCPT TO:<nobody@example.org>\r\n", b"DATA\r\n", b".\r\n", b"\r\n.\r\n", b"RSET\r\n", b"NOOP\r\n",
        b"VRFY rich\r\n", b"HELP\r\n", b"QUIT\r\n", b"Received: x\r\n", b"\n", b"\r", b"\r\n",
        b"\n.\n", b".", b"\0",
        b"MAIL FROM:", b"<", b">", b"@", b'"', b" ", b"x" * 600, b"\xff", b"text\r\n",
    ]
)  # fmt: skip
streams = st.lists(st.one_of(fragments, logins, responses, st.binary(max_size=6)), max_size=40).map(b"".join)

EHLO = b"EHLO client.example\r\n"
ALICE = b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"
# Into every state, and into the middle of every exchange.
INTO = [
    b"",
    EHLO,
    EHLO + b"MAIL FROM:<a@b.example>\r\n",
    EHLO + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\n",
    EHLO + b"STARTTLS\r\n",
    EHLO + b"STARTTLS\r\n" + HANDSHAKE,
    EHLO + b"STARTTLS\r\n" + HANDSHAKE + EHLO + ALICE,
    EHLO + ALICE + b"MAIL FROM:<alice@example.org>\r\n",
    EHLO + ALICE + b"STARTTLS\r\n" + HANDSHAKE,
    *(EHLO + b"AUTH " + name.encode() + b"\r\n" for name in MECHANISMS),
    EHLO + b"AUTH LOGIN YWxpY2U=\r\n",
    EHLO + b"AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPXg=\r\n",
    EHLO + b"AUTH XOAUTH2 dXNlcj0BYXV0aD1CZWFyZXIgeAEB\r\n",
    EHLO + b"STARTTLS\r\n" + HANDSHAKE + EHLO + b"AUTH EXTERNAL\r\n",
]
states = st.sampled_from(INTO)

# RFC 5321 section 4.2; a challenge may be empty (RFC 4954 section 4).
_REPLIES = re.compile(rb"(?:[2-5][0-9][0-9]-[\x20-\x7e]*\r\n)*[2-5][0-9][0-9] [\x20-\x7e]*\r\n")
_ONE_REPLY = re.compile(rb"(?:([2-5][0-9][0-9])-[\x20-\x7e]*\r\n)*(?(1)\1|[2-5][0-9][0-9]) [\x20-\x7e]*\r\n")


def talk(pieces: list[bytes], settings: SMTPOptions) -> tuple[list[bytes], list[str], bool]:
    server = FakeServer(settings)
    said = server.greeting() + b"".join([server.feed(piece) for piece in pieces])
    replies = _REPLIES.findall(said)
    assert b"".join(replies) == said
    return replies, [str(kept) for kept in server.kept], server.session.closed


@given(st.builds(bytes.__add__, states, streams), settings_of_any_kind, st.data())
@settings(max_examples=examples(2))
def test_the_same_replies_for_every_chunking(stream: bytes, given: SMTPOptions, data: st.DataObject) -> None:
    whole = talk([stream], given)
    assert talk([stream[i : i + 1] for i in range(len(stream))], given) == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    assert talk(pieces, given) == whole


lines = st.lists(
    st.one_of(
        st.one_of(fragments, logins, responses).map(lambda line: line.translate(None, b"\r\n")),
        st.binary(max_size=700).map(lambda line: line.replace(b"\n", b"")),
    ).filter(lambda line: not line.upper().startswith((b"DATA", b"QUIT"))),
    max_size=30,
)


@given(states, lines, settings_of_any_kind)
@settings(max_examples=examples(2))
def test_one_reply_for_each_command(state: bytes, commands: list[bytes], given: SMTPOptions) -> None:
    server = FakeServer(given)
    server.greeting()
    server.feed(state)
    for line in commands:
        if server.waits_for_tls:
            assert server.feed(HANDSHAKE) == b""
        if server.session.closed:
            break
        assert _ONE_REPLY.fullmatch(server.feed(line + b"\r\n"))
    assert server.feed(b"") == b""


def test_replies_in_plenty_are_handed_out_in_portions() -> None:
    server = FakeServer(SMALL)
    server.session.receive(b"HELP\r\n" * 20000)
    most = count = 0
    while server.session.next_event() is not None:
        said = server.session.take_output()
        most = max(most, len(said))
        count += said.count(b"214 ")
    count += server.session.take_output().count(b"214 ")
    assert count == 20000
    assert most < 70000
