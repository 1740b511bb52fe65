"""What a filter sends, and what is wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import FilterFailed
from mailserver.policy.milter.replies import (
    MAX_LINES,
    MAX_TEXT,
    AddField,
    ChangeField,
    FilterAnswer,
    FilterReply,
    FilterReplyText,
    InsertField,
    KeepAside,
    read_reply,
)

TOO_LONG = b"550 " + b"x" * 2000


@pytest.mark.parametrize(
    ("command", "data", "reply"),
    [
        *[(answer.value, b"", answer) for answer in FilterAnswer],
        (b"h", b"X-Spam\0Yes\0", AddField(b"X-Spam", b"Yes")),
        (b"h", b"X-Empty\0\0", AddField(b"X-Empty", b"")),
        (b"i", b"\0\0\0\1X\0 a\n\tb\0", InsertField(1, b"X", b" a\n\tb")),
        (b"m", b"\0\0\0\2Subject\0new\0", ChangeField(2, b"Subject", b"new")),
        (b"m", b"\0\0\0\0Subject\0\0", ChangeField(1, b"Subject", b"")),
        (b"q", b"a virus\0", KeepAside("a virus")),
        (b"q", b"", KeepAside("no reason given")),
        (b"y", b"550 5.7.1 no thanks\0", FilterReplyText(550, 7, 1, "no thanks")),
        (b"y", b"451 4.3.2 later", FilterReplyText(451, 3, 2, "later")),
        (b"y", b"554 5.7.1\0", FilterReplyText(554, 7, 1, "rejected by a mail filter")),
        (b"y", b"550 not with a code\0", FilterReplyText(550, 7, 1, "not with a code")),
        (b"y", b"550 100%% of 5.7.1\0", FilterReplyText(550, 7, 1, "100% of 5.7.1")),
        (b"y", b"550-5.7.1 one\r\n550 5.7.1 two\r\n\0", FilterReplyText(550, 7, 1, "one\ntwo")),
        (b"y", b"550-5.7.1 one\n550 5.7.1 two\0", FilterReplyText(550, 7, 1, "one\ntwo")),
        (b"y", b"452-\r\n452- a\r\n452-\r\n452 b\0", FilterReplyText(452, 7, 1, "a\n\nb")),
        (b"y", b"\r\n".join([b"421-x"] * 40) + b"\0", FilterReplyText(421, 7, 1, "\n".join("x" * MAX_LINES))),
        (b"y", b"590 5.0.0 no such code\0", FilterReplyText(550, 0, 0, "no such code")),
        (b"y", b"460 no such code\0", FilterReplyText(451, 7, 1, "no such code")),
        (b"y", b"550 5.7.1 a\tb\x80\xff\0", FilterReplyText(550, 7, 1, "a?b?")),
        (b"y", TOO_LONG, FilterReplyText(550, 7, 1, "x" * MAX_TEXT)),
    ],
)
def test_a_reply(command: bytes, data: bytes, reply: FilterReply) -> None:
    assert read_reply(command, data) == reply


@pytest.mark.parametrize(
    ("command", "data", "text"),
    [
        (b"c", b"x", "has 1 octets of data"),
        (b"", b"", "unknown reply"),
        (b"?", b"", "unknown reply"),
        (b"h", b"X-Spam\0Yes", "a name and a value"),
        (b"h", b"X-Spam\0Yes\0more\0", "a name and a value"),
        (b"h", b"\0Yes\0", "invalid name"),
        (b"h", b"X Spam\0Yes\0", "invalid name"),
        (b"h", b"X\r\nBcc:\0Yes\0", "invalid name"),
        (b"h", b"X" * 256 + b"\0Yes\0", "invalid name"),
        (b"i", b"\0\0\0", "no index"),
        (b"m", b"\0\0\0\1", "a name and a value"),
        (b"y", b"", "invalid reply text"),
        (b"y", b"250 2.0.0 fine\0", "invalid reply text"),
        (b"y", b"550 4.7.1 mixed\0", "invalid reply text"),
        (b"y", b"5502 5.7.1 long\0", "invalid reply text"),
        (b"y", b"550-5.7.1 a\r\n450 4.7.1 b\0", "invalid reply text"),
        (b"y", b"550-5.7.1 a\r\nQUIT\0", "invalid reply text"),
        (b"+", b"<a@b>\0", "wants to add a recipient, which this server does not offer"),
        (b"2", b"<a@b>\0", "wants to add a recipient"),
        (b"-", b"<a@b>\0", "wants to remove a recipient"),
        (b"b", b"body", "wants to change the body"),
        (b"e", b"<a@b>\0", "wants to change the reverse-path"),
    ],
)
def test_no_reply(command: bytes, data: bytes, text: str) -> None:
    with pytest.raises(FilterFailed, match=text):
        read_reply(command, data)


@given(st.sampled_from([b"y", b"h", b"i", b"m", b"c", b"z"]), st.binary(max_size=80))
def test_any_octets_are_a_reply_or_an_error(command: bytes, data: bytes) -> None:
    try:
        reply = read_reply(command, data)
    except FilterFailed:
        return
    if isinstance(reply, FilterReplyText):
        lines = reply.text.split("\n")
        assert reply.text and all(line.isprintable() and line.isascii() for line in lines)
        assert len(lines) <= MAX_LINES and max(map(len, lines)) <= MAX_TEXT
    elif not isinstance(reply, FilterAnswer | KeepAside):
        assert reply.name and not set(reply.name) & set(b"\0\r\n :")


@given(st.from_regex(r"\A(550|451)[ -][245]?\.?[0-9.]{0,4} ?[ -~]{0,30}(\r\n(550|451) .{0,5})?\Z"))
def test_any_text_has_its_code(text: str) -> None:
    try:
        reply = read_reply(b"y", text.encode())
    except FilterFailed:
        return
    assert isinstance(reply, FilterReplyText)
    assert str(reply.code) == text[:3] and len(reply.text.split("\n")) <= len(text.split("\n"))
