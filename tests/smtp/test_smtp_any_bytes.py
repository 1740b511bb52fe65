"""Any bytes in any pieces: no exception, one ordered reply for each command, and always the same."""

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.smtp.settings import Settings
from tests.smtp.smtp_fakes import FakeServer

SMALL = Settings(
    hostname="mail.example.org", domain="example.org", max_message_size=60, verify="always", max_errors=0
)
LOOSE = Settings(
    hostname="mail.example.org", domain="example.org", bare_newline="normalize", hop_limit=2, max_errors=5
)

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
streams = st.lists(st.one_of(fragments, st.binary(max_size=6)), max_size=40).map(b"".join)

_REPLIES = re.compile(rb"(?:[2-5][0-9][0-9]-[\x20-\x7e]*\r\n)*[2-5][0-9][0-9] [\x20-\x7e]*\r\n")


def talk(pieces: list[bytes], settings: Settings) -> tuple[list[bytes], list[str], bool]:
    server = FakeServer(settings)
    said = server.greeting() + b"".join([server.feed(piece) for piece in pieces])
    replies = _REPLIES.findall(said)
    assert b"".join(replies) == said
    return replies, [str(kept) for kept in server.kept], server.session.closed


@given(streams, st.sampled_from([SMALL, LOOSE]), st.data())
@settings(max_examples=150, deadline=None)
def test_the_same_replies_for_every_chunking(stream: bytes, given: Settings, data: st.DataObject) -> None:
    whole = talk([stream], given)
    assert talk([stream[i : i + 1] for i in range(len(stream))], given) == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    assert talk(pieces, given) == whole


lines = st.lists(
    st.one_of(
        fragments.map(lambda line: line.replace(b"\r", b"").replace(b"\n", b"")),
        st.binary(max_size=700).map(lambda line: line.replace(b"\n", b"")),
    ).filter(lambda line: not line.upper().startswith((b"DATA", b"QUIT"))),
    max_size=30,
)


@given(lines)
@settings(max_examples=150, deadline=None)
def test_one_reply_for_each_command(commands: list[bytes]) -> None:
    replies, _, _ = talk([line + b"\r\n" for line in commands], SMALL)
    assert len(replies) == 1 + len(commands)


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
