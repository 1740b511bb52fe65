"""Replies however they are cut, and contents that our own receiver reads back."""

import itertools
import re
from collections import deque

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.smtp.sender.events import ContentWanted, MailDone, SessionClosed
from mailserver.smtp.sender.replies import MAX_REPLY, BadReply, ReplyReader
from mailserver.smtp.sender.session import SenderSession
from tests.support.sender import CONTENT, outgoing, sender_settings
from tests.support.sending_sessions import (
    CHUNKING,
    LARGE,
    MAIL,
    PIPELINING,
    events_of,
    in_content,
)
from tests.support.smtp import SETTINGS, FakeServer

# ---------------------------------------------------------------- replies


@pytest.mark.parametrize(
    ("octets", "status", "text", "shown"),
    [
        (b"550 5.1.1 no such user\r\n", (1, 1), "no such user", "550 5.1.1 no such user"),
        (b"550 no such user\r\n", None, "no such user", "550 no such user"),
        (b"550 4.1.1 other class\r\n", None, "other class", "550 other class"),
        (b"550 5.1.1\r\n", (1, 1), "", "550 5.1.1"),
        (b"550 5.1.1234 x\r\n", None, "5.1.1234 x", "550 5.1.1234 x"),
        (b"550-5.1.1 no\r\n550 5.1.1 user\r\n", (1, 1), "no user", "550 5.1.1 no user"),
        (b"550-no\r\n550 5.7.1 user\r\n", (7, 1), "no user", "550 5.7.1 no user"),
        (b"550\r\n", None, "", "550"),
        (b"250-\r\n250 \r\n", None, "", "250"),
        (b"550 a\x1b[31m\rb\xff\r\n", None, "a?[31m?b\N{REPLACEMENT CHARACTER}", None),
    ],
)
def test_replies(octets: bytes, status: tuple[int, int] | None, text: str, shown: str | None) -> None:
    reader = ReplyReader()
    reader.feed(octets)
    reply = reader.next_reply()
    assert reply is not None
    assert (reply.status and (reply.status.subject, reply.status.detail)) == status
    assert reply.text == text
    if shown is not None:
        assert str(reply) == shown
    assert str(reply).isprintable()


@pytest.mark.parametrize("size", [1, MAX_REPLY])
@pytest.mark.parametrize(("octets", "good"), [(MAX_REPLY, True), (MAX_REPLY + 1, False)])
def test_the_longest_reply(octets: int, good: bool, size: int) -> None:
    reply = b"250-x\r\n" * 1000
    reply += b"250 " + b"y" * (octets - len(reply) - 6) + b"\r\n"
    assert len(reply) == octets
    found = replies_in(reply, [size] * octets)
    assert len(found) == 1
    assert (found == ["bad"]) is not good


def replies_in(octets: bytes, sizes: list[int]) -> list:
    """All replies, and whether the stream ended in a bad one."""
    reader, found, rest = ReplyReader(), [], octets
    pieces = deque(sizes)
    while rest:
        size = pieces.popleft() if pieces else len(rest)
        reader.feed(rest[:size])
        rest = rest[size:]
        try:
            while (reply := reader.next_reply()) is not None:
                found.append(reply)
        except BadReply:
            return [*found, "bad"]
        assert len(reader) <= MAX_REPLY
    return found


lines = st.sampled_from(
    [b"250 ok\r\n", b"250-ok\r\n", b"550 5.1.1 no\n", b"354\r\n", b"421\tbye\r\n", b"\r\n", b"25", b"-",
     b"0", b"x" * 5000, b"250-" + b"y" * 3000 + b"\r\n", b"\n", b"\r", b" "]
)  # fmt: skip
streams = st.lists(st.one_of(lines, st.binary(max_size=5)), max_size=25).map(b"".join)
sizes = st.lists(st.integers(1, 4000), max_size=40)


@given(streams, sizes)
def test_any_octets_are_the_same_replies_in_any_pieces(octets: bytes, pieces: list[int]) -> None:
    found = replies_in(octets, pieces)
    assert found == replies_in(octets, [])
    for reply in found:
        if reply != "bad":
            assert 200 <= reply.code <= 599
            assert reply.lines
            assert str(reply).isprintable()


@given(st.sampled_from([b"", PIPELINING, CHUNKING]), st.booleans(), streams, sizes)
def test_any_octets_of_a_server_end_in_one_result(
    ehlo: bytes, lmtp: bool, octets: bytes, pieces: list[int]
) -> None:
    """No exception, one MailDone for each message, at most one SessionClosed, whatever a server sends."""
    session = SenderSession(sender_settings({"protocol": "lmtp"} if lmtp else {}))
    octets = (b"220 d\r\n" + ehlo if ehlo else b"") + octets
    begun, seen = 0, []
    places = deque(pieces)
    while octets:
        size = places.popleft() if places else len(octets)
        session.receive(octets[:size])
        octets = octets[size:]
        while (event := session.next_event()) is not None:
            seen.append(event)
            if event == ContentWanted():
                session.write(CONTENT)
                session.end()
            if session.idle and begun < 3:
                session.send(MAIL)
                begun += 1
            session.take_output()
    session.connection_lost()
    seen += events_of(session)
    assert sum(isinstance(event, MailDone) for event in seen) == begun
    assert [event for event in seen if isinstance(event, SessionClosed)] == seen[-1:]
    for event in seen:
        if isinstance(event, MailDone):
            assert len(event.results) == len(MAIL.recipients)


# ---------------------------------------------------------------- read back by our own receiver

octets = st.lists(
    st.sampled_from([b"\r\n", b".", b"\n", b"\r", b"x", b"\r\n.\r\n", b"MAIL FROM:<x@y>\r\n", b"\xff", b"\0"])
).map(b"".join)
cuts = st.lists(st.integers(0, 60), max_size=6)


def pieces_of(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, *(cut for cut in cuts if cut < len(content)), len(content)})
    return [content[start:end] for start, end in itertools.pairwise(places)]


def normalized(content: bytes) -> bytes:
    """What must arrive: the rule of ``wire.newlines`` in other words, line by line."""
    content = re.sub(rb"\r{1,16}\n", b"\n", content).replace(b"\r", b" ").replace(b"\n", b"\r\n")
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def send_to_our_receiver(pieces: list[bytes], *, way: str = "DATA") -> list[bytes]:
    server = FakeServer(SETTINGS)  # it rejects bare CRs and LFs
    session = SenderSession(sender_settings({}))
    session.receive(server.greeting())
    sent = False
    while not session.closed:
        for event in events_of(session):
            if event == ContentWanted():
                for piece in pieces:
                    session.write(piece)
                session.end()
        if session.idle and sent:
            session.quit()
        elif session.idle:
            if way == "DATA":
                session.extensions = attrs.evolve(session.extensions, chunking=False)
            session.send(outgoing("to=alice@example.org" + " binary" * (way == "binary")))
            sent = True
        session.receive(server.feed(session.take_output()))
    return [kept.content for kept in server.kept]


@given(octets, cuts)
def test_our_receiver_reads_back_what_the_session_sends(content: bytes, cuts: list[int]) -> None:
    pieces, whole = pieces_of(content, cuts), normalized(content)
    assert send_to_our_receiver(pieces) == [whole]
    # BDAT adds no CRLF at the end.
    [chunked] = send_to_our_receiver(pieces, way="BDAT")
    assert chunked in (whole, whole[:-2])


@given(octets, cuts)
def test_a_binary_body_arrives_octet_for_octet(content: bytes, cuts: list[int]) -> None:
    content = b"A: b\r\n\r\n" + content
    assert send_to_our_receiver(pieces_of(content, cuts), way="binary") == [content]


@given(st.lists(st.sampled_from([b"\r\n", b".", b"x", b"\r\n.\r\n", b"\xff"])).map(b"".join), cuts)
def test_a_proper_message_arrives_octet_for_octet(content: bytes, cuts: list[int]) -> None:
    content += b"\r\n"
    for way in ("DATA", "BDAT"):
        assert send_to_our_receiver(pieces_of(content, cuts), way=way) == [content]


@pytest.mark.parametrize("size", [16384, 65536])
@pytest.mark.parametrize("offset", range(-4, 3))
def test_a_dot_at_every_edge_of_large_chunks(size: int, offset: int) -> None:
    content = b"x" * (size + offset) + b"\r\n.\r\n" + b"y" * size + b"\r\n"
    assert send_to_our_receiver([content[:size], content[size:]]) == [content]


@given(octets, cuts)
def test_chunks_have_the_sizes_that_they_tell(content: bytes, cuts: list[int]) -> None:
    session = in_content(CHUNKING, LARGE)
    for piece in pieces_of(content, cuts):
        session.write(piece)
    session.end()
    sent = session.take_output()
    command, _, rest = sent.partition(b"\r\n")
    assert command == b"BDAT %d LAST" % len(rest)
    whole = normalized(content)
    assert rest in (whole, whole[:-2])
