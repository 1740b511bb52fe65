"""Messages from anywhere: a text is kept apart from our trace fields, Return-Path goes, all else stays."""

import email
import email.policy
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.filtering import HeadFilter
from tests.support.mail_heads import everyhow, head_and_text, in_pieces


@pytest.mark.parametrize(
    "message",
    [
        b" leading blank\r\nSubject: x\r\n\r\nbody\r\n",
        b"\tleading tab\r\n",
        b"UPS on battery\r\n",
        b"UPS on battery\r\n\r\nSubject: x\r\n",
        b">From alice Mon Nov  2 10:00:00 2026\r\nSubject: x\r\n\r\nbody\r\n",
        b"From alice Mon Nov  2 10:00:00 2026\r\nSubject: x\r\n\r\nbody\r\n",
        b": no name\r\n",
        b"x\r\n",
        "na\u00efve: x\r\n".encode(),
        b"x" * 256 + b": y\r\n",
        b"\0\r\n",
        b"text\r\nReturn-Path: <a@b.example>\r\n\r\n",
    ],
    ids=ascii,
)
def test_a_text_without_a_header_begins_after_a_blank_line(message: bytes) -> None:
    assert everyhow(HeadFilter, message) == b"\r\n" + message


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r\n",
        b"\r\nbody\r\n",
        b"\r\nReturn-Path: <a@b.example>\r\n",
        b"Subject: x\r\n\r\nbody\r\n",
        b"Subject : x\r\n",
        b"x" * 255 + b": y\r\n",
        b"Subject: x\r\nno field\r\nReturn-Path: <a@b.example>\r\n\r\nbody\r\n",
        b"Subject: x\r\n Return-Path: <a@b.example>\r\n\r\nReturn-Path: <c@d.example>\r\n",
        b"X-Return-Path: a\r\nReturn-Path-To: b\r\nReturn: c\r\nDKIM-Signature: h=return-path\r\n\r\n",
    ],
    ids=ascii,
)
def test_a_message_stays_as_it_is(message: bytes) -> None:
    assert everyhow(HeadFilter, message) == message


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        (b"Return-Path: <a@b.example>\r\nSubject: x\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject: x\r\nreturn-PATH\t: a,\r\n\tb\r\n c\r\nTo: y\r\n\r\n", b"Subject: x\r\nTo: y\r\n\r\n"),
        (b"Return-Path: <a>\r\nReturn-Path: <b>\r\n\r\nReturn-Path: <c>\r\n", b"\r\nReturn-Path: <c>\r\n"),
        (b"Return-Path:\r\n", b""),
        (b"Return-Path: <a>\r\ntext\r\n", b"\r\ntext\r\n"),
        (b"X: y\r\nReturn-Path: <" + b"a" * 5000 + b">\r\n\r\n", b"X: y\r\n\r\n"),
    ],
    ids=["first", "folded", "twice", "alone", "no header is left", "long"],
)
def test_return_paths_are_removed(message: bytes, rest: bytes) -> None:
    assert (
        everyhow(HeadFilter, message)
        if len(message) < 1000
        else in_pieces(HeadFilter(), message, range(len(message)))
    ) == rest


def expected(message: bytes) -> bytes:
    """The same by another way: whole lines, of a whole message."""
    head, rest = head_and_text(message)
    kept = b"".join(line for name, line in head if name != b"return-path")
    return kept + (b"" if kept or not rest or rest.startswith(b"\r\n") else b"\r\n") + rest


pieces = st.lists(
    st.sampled_from(
        [b"Return-Path", b"return-path:", b"X", b":", b" ", b"\t", b"\r\n", b"\r", b"\n", b"From ", b">",
         b"Subject: x\r\n", b"Return-Path: y\r\n", b"\r\n\r\n", b"\xc3\xa9", b"\0"]
    )
    | st.binary(max_size=3),
    max_size=24,
).map(b"".join)  # fmt: skip


@given(pieces, st.data())
def test_any_message_in_any_pieces(message: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=8)))
    wanted = expected(message)
    assert in_pieces(HeadFilter(), message) == wanted
    assert in_pieces(HeadFilter(), message, cuts) == wanted
    assert in_pieces(HeadFilter(), message, range(len(message))) == wanted


def test_others_find_the_text() -> None:
    trace = b"Received: from a by b; Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    for text in (b" indented\r\n", b"UPS on battery\r\n", b">From a\r\nSubject: x\r\n"):
        message = email.message_from_bytes(trace + in_pieces(HeadFilter(), text), policy=email.policy.SMTP)
        assert message.keys() == ["Received"] and not message.defects
        assert message.get_payload(decode=True) == text


@pytest.mark.parametrize("line", [b"Return-Path: x\r\n", b"y", b"\r", b"Return-Path", b" "])
def test_nothing_is_hoarded(line: bytes) -> None:
    one = HeadFilter()
    piece = line * (20_000 // len(line))
    tracemalloc.start()
    try:
        for _ in range(20):
            one.feed(piece)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < len(piece)
