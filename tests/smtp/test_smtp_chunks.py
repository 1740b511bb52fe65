"""BDAT (RFC 3030 section 2): octets that are counted wrong would be commands. Dialogues show the rest."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.smtp.states import SMTPState
from tests.support.attacks.ways import HELLO, MAIL, RCPT, in_every_way
from tests.support.smtp import SETTINGS, FakeServer

SMUGGLED = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nx\r\n.\r\n"
INTO = {
    SMTPState.CONNECTED: b"",
    SMTPState.IDLE: HELLO,
    SMTPState.SENDER: HELLO + MAIL,
    SMTPState.RECIPIENTS: HELLO + MAIL + RCPT,
    SMTPState.CHUNKS: HELLO + MAIL + RCPT + b"BDAT 0\r\n",
}


def play(pieces: list[bytes]) -> tuple[list[bytes], list[str], bool]:
    """The codes of the replies, the messages that were kept, and whether the session is over."""
    server = FakeServer(SETTINGS)
    server.greeting()
    said = b"".join([server.feed(piece) for piece in pieces])
    return (
        [line[:3] for line in said.splitlines()],
        [str(kept) for kept in server.kept],
        server.session.closed,
    )


@pytest.mark.parametrize("state", INTO)
@pytest.mark.parametrize("end", [b"", b" LAST", b" LAST ", b" LATS", b" \xff", b" 5", b"\t\tlast"])
def test_octets_are_never_commands(state: SMTPState, end: bytes) -> None:
    stream = INTO[state] + b"BDAT %d%b\r\n%bNOOP\r\n" % (len(SMUGGLED), end, SMUGGLED)
    codes, kept, closed = in_every_way(stream, play)
    possible = state in (SMTPState.RECIPIENTS, SMTPState.CHUNKS)
    correct = end.strip().upper() in (b"", b"LAST")
    assert codes[-2:] == [b"503" if not possible else b"250" if correct else b"501", b"250"]
    assert not closed and not any("evil@b.example>" in one.split()[0] for one in kept)
    assert len(kept) == (possible and end.strip().upper() == b"LAST")


@pytest.mark.parametrize("state", INTO)
@pytest.mark.parametrize(
    "command",
    [
        b"BDAT\r\n", b"BDAT \r\n", b"BDAT LAST\r\n", b"BDAT -1\r\n", b"BDAT +1\r\n", b"BDAT 1.0\r\n",
        b"BDAT 0x4\r\n", b"BDAT 4LAST\r\n", b"BDAT 4\0\r\n", b"BDAT " + b"9" * 21 + b"\r\n",
        b"BDAT \xd9\xa4\r\n", b"BDAT:4\r\n", b"BDAT 4\n", b"bdat 4\n", b"BDAT\r4\r\n",
        b"BDAT 4" + b" " * 600 + b"\r\n", b"BDAT 4" + b" " * 20_000 + b"\r\n",
        b"BDAT 4" + b" " * 20_000 + b"\n",
    ],
)  # fmt: skip
def test_a_bdat_whose_size_is_unknown_ends_the_session(state: SMTPState, command: bytes) -> None:
    server = FakeServer(SETTINGS)
    server.greeting()
    server.feed(INTO[state])
    said = server.feed(command + SMUGGLED)
    if command == b"BDAT:4\r\n":  # another command
        assert said.startswith(b"500 5.5.2 command not recognized")
        return
    assert said[:4] in (b"500 ", b"501 ") and said.count(b"\r\n") == 1
    assert server.session.closed and not server.kept


def test_many_rejected_chunks_do_not_end_the_session() -> None:
    """RFC 3030 section 2: chunks that are in the pipeline after a failed one are discarded."""
    server = FakeServer(SETTINGS)
    server.greeting()
    stream = HELLO + MAIL + b"BDAT 6\r\nQUIT\r\n" * 100 + b"RSET\r\n"
    assert server.feed(stream).count(b"\r\n503 5.5.1 ") == 100
    server.feed(MAIL + RCPT)
    assert server.feed(b"BDAT 1\r\n\n" * 100).count(b"550 5.6.0 ") == 100
    assert server.feed(b"RSET\r\n") == b"250 2.0.0 Ok\r\n"


def test_a_message_that_is_too_big_is_dropped_before_its_octets_arrive() -> None:
    server = FakeServer(SETTINGS)
    server.greeting()
    server.feed(HELLO + MAIL + RCPT + b"BDAT 2\r\n\r\n")
    assert server.feed(b"BDAT %d LAST\r\n" % SETTINGS.max_message_size) == b""
    assert server.aborted == 1


@pytest.mark.parametrize("size", [2**31, 2**32 + 4, 2**63, 2**64, 2**64 + 4, 10**20 - 1])
@pytest.mark.parametrize("state", INTO)
def test_a_huge_size_is_no_small_one(state: SMTPState, size: int) -> None:
    """Everything that follows is discarded, and not kept in memory."""
    server = FakeServer(SETTINGS)
    server.greeting()
    server.feed(INTO[state])
    assert server.feed(b"BDAT %d LAST\r\n" % size + SMUGGLED * 100) == b""
    assert not server.session.closed and not server.kept and not server.session.pending


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"x", b"A: b"])), st.lists(st.integers(0, 30)))
def test_the_boundaries_of_chunks_make_no_difference(parts: list[bytes], cuts: list[int]) -> None:
    """Neither for what is kept, nor for whether it is rejected."""
    text = b"".join(parts)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    for parameter in (b"", b" BODY=BINARYMIME"):
        begin = HELLO + MAIL.replace(b"\r\n", parameter + b"\r\n") + RCPT
        whole = play([begin, b"BDAT %d LAST\r\n%b" % (len(text), text)])
        chunks = [b"BDAT %d\r\n%b" % (len(piece), piece) for piece in pieces]
        codes, kept, _ = play([begin, *chunks, b"BDAT 0 LAST\r\n"])
        assert (codes[-1], kept) == (whole[0][-1], whole[1])
