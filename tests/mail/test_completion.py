"""Submitted messages get what their header lacks, and nothing else changes."""

import email
import email.policy
import email.utils
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.completion import HeadCompleter
from tests.support.mail_heads import everyhow, head_and_text, in_pieces

WHEN = 1795362261.5
DATE = f"Date: {email.utils.formatdate(int(WHEN), localtime=True)}\r\n".encode()
ID = b"Message-ID: <1m81yw237y5dnr66@mail.example.org>\r\n"
BOTH = DATE + ID
FULL = b"Date: Mon, 22 Nov 2027 10:00:00 +0100\r\nmessage-id:<a@b>\r\n"


def completer(remove_bcc: bool = False) -> HeadCompleter:
    return HeadCompleter(hostname="mail.example.org", id="1m81yw237y5dnr66", when=WHEN, remove_bcc=remove_bcc)


def complete(message: bytes, cuts: Sequence[int] = (), *, remove_bcc: bool = False) -> bytes:
    return in_pieces(completer(remove_bcc), message, cuts)


def complete_everyhow(message: bytes, *, remove_bcc: bool = False) -> bytes:
    return everyhow(lambda: completer(remove_bcc), message)


@pytest.mark.parametrize(
    ("before", "inserted", "after"),
    [
        # what is missing goes to the end of the header
        (b"Subject: x\r\n", BOTH, b"\r\nbody\r\n"),
        (b"Subject: x\r\nDate: y\r\n", ID, b"\r\nbody\r\n"),
        (b"Message-ID: <a@b>\r\nSubject: x\r\n", DATE, b"\r\nbody\r\n"),
        (FULL, b"", b"\r\nbody\r\n"),
        # names in any case, with the blanks of the obsolete syntax, folded at once, malformed
        (b"DATE : x\r\nMESSAGE-id\t:\r\n <a@b>\r\n", b"", b"\r\n"),
        (b"Date:\r\nMessage-ID:\r\n", b"", b"\r\n"),
        # names that only look alike
        (b"Dated: x\r\nX-Date: x\r\nMessage-Id-: x\r\nMessage_ID: x\r\n", BOTH, b"\r\n"),
        # continuation lines are no fields, nor is what follows the header
        (b"Subject: x\r\n Date: y\r\n\tMessage-ID: z\r\n \t\r\n", BOTH, b"\r\nDate: y\r\n"),
        # the original fields are needed even where the message was sent again
        (b"Resent-Date: x\r\nResent-Message-ID: <a@b>\r\nResent-From: a@b\r\n", BOTH, b"\r\n"),
        # no header at all: a blank line first, text, nothing
        (b"", BOTH, b"\r\nbody: text\r\nDate: text\r\n"),
        (b"", BOTH + b"\r\n", b"Dear Bob,\r\n\r\nDate: today\r\n"),
        (b"", BOTH + b"\r\n", b" Date: x\r\nMessage-ID: y\r\n"),
        (b"", BOTH + b"\r\n", b": x\r\n"),
        (b"", BOTH + b"\r\n", "naïve: x\r\n".encode()),
        (b"", BOTH + b"\r\n", b"\nDate: x\r\n"),
        (b"", BOTH + b"\r\n", b"\r\r\n"),
        (b"", BOTH + b"\r\n", b"text without an end"),
        (b"", BOTH, b""),
        # a header without its blank line before the text
        (b"Subject: x\r\n", BOTH + b"\r\n", b"Dear Bob,\r\nDate: today\r\n"),
        (FULL, b"\r\n", b"Dear Bob,\r\n"),
        (b"Subject: x\r\n", BOTH + b"\r\n", b"Su"),
        (b"Subject: x\r\n", BOTH + b"\r\n", b"\r"),
        # a header without a body, with its last line open
        (b"Subject: x\r\n", BOTH, b""),
        (FULL, b"", b""),
        (b"Subject: x", b"\r\n" + BOTH, b""),
        (b"Subject: x\r", b"\r\n" + BOTH, b""),
        (b"Subject:", b"\r\n" + BOTH, b""),
        (FULL + b"Subject: x\r", b"", b""),
        # a CR or LF alone ends nothing
        (b"Subject: x\nDate: y\rMessage-ID: z\r\n", BOTH, b"\r\n"),
        (b"Subject: x\r\r\nTo: y\n\r\n", BOTH, b"\r\n"),
        # the longest name that there is, and one too long
        (b"x" * 255 + b": y\r\n", BOTH, b"\r\n"),
        (b"", BOTH + b"\r\n", b"x" * 256 + b": y\r\n\r\n"),
        # Bcc stays unless its removal is wanted
        (b"Bcc: bob@example.org\r\n", BOTH, b"\r\n"),
    ],
)
def test_what_is_missing_is_inserted(before: bytes, inserted: bytes, after: bytes) -> None:
    assert complete_everyhow(before + after) == before + inserted + after


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        (FULL + b"Bcc: a@b\r\nTo: c\r\n\r\n", FULL + b"To: c\r\n\r\n"),
        (b"bCC\t : a@b,\r\n c@d\r\n\t\r\n e@f\r\nTo: c\r\n" + FULL, b"To: c\r\n" + FULL),
        (b"Bcc:\r\nTo: c\r\nBcc: x\r\nBcc: y\r\n" + FULL + b"\r\n", b"To: c\r\n" + FULL + b"\r\n"),
        (b"Resent-Bcc: x\r\nResent-To: y\r\n" + FULL + b"\r\n", b"Resent-To: y\r\n" + FULL + b"\r\n"),
        (FULL + b"X-Bcc: x\r\nBccc: y\r\nCc: Bcc: z\r\n", FULL + b"X-Bcc: x\r\nBccc: y\r\nCc: Bcc: z\r\n"),
        (FULL + b"To: c\r\n Bcc: x\r\n\r\nBcc: y\r\n", FULL + b"To: c\r\n Bcc: x\r\n\r\nBcc: y\r\n"),
        (FULL + b"\r\nBcc: y\r\n", FULL + b"\r\nBcc: y\r\n"),
        # in a field that goes, nothing is found
        (b"Bcc: x\r\n Date: y\r\n\r\n", BOTH + b"\r\n"),
        # without a blank line, with its last line open
        (b"Bcc: x\r\n", BOTH),
        (b"Bcc: x", BOTH),
        (b"Bcc: x\r", BOTH),
        (FULL + b"Bcc: x\r\n y", FULL),
        (FULL + b"Bcc: x\r\ntext\r\n", FULL + b"\r\ntext\r\n"),
        # not yet a field
        (FULL + b"Bcc", FULL + b"\r\nBcc"),
    ],
)  # fmt: skip
def test_bcc_is_removed_on_request(message: bytes, rest: bytes) -> None:
    assert complete_everyhow(message, remove_bcc=True) == rest


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        (
            b"From alice Mon Nov  2\r\nSubject: x\r\n",
            b"X-Mailbox-Line: From alice Mon Nov  2\r\nSubject: x\r\n",
        ),
        (b">From alice\r\nSubject: x\r\n", b"X-Mailbox-Line: >From alice\r\nSubject: x\r\n"),
        (
            b"From alice\r\n>>From bob\r\nSubject: x\r\n",
            b"X-Mailbox-Line: From alice\r\nX-Mailbox-Line: >>From bob\r\nSubject: x\r\n",
        ),
        (b"From : alice\r\n", b"From : alice\r\n"),
        (b"From: alice\r\n", b"From: alice\r\n"),
    ],
)
def test_lines_of_an_mbox_become_fields(message: bytes, rest: bytes) -> None:
    assert complete_everyhow(message + b"\r\nbody\r\n") == rest + BOTH + b"\r\nbody\r\n"
    assert complete_everyhow(message + FULL + b"\r\nbody\r\n") == rest + FULL + b"\r\nbody\r\n"


@pytest.mark.parametrize("line", [b"From", b"from alice", b"x>From a", b"> From a", b"-----From a"])
def test_other_lines_are_text(line: bytes) -> None:
    assert complete_everyhow(line + b"\r\nDate: x\r\n") == BOTH + b"\r\n" + line + b"\r\nDate: x\r\n"
    later = FULL + b"From alice\r\nSubject: x\r\n"
    assert complete_everyhow(later) == FULL + b"\r\nFrom alice\r\nSubject: x\r\n"


def test_a_submitted_return_path_is_removed() -> None:
    assert complete_everyhow(b"Return-Path: <a@b>\r\n c\r\n" + FULL + b"\r\n") == FULL + b"\r\n"


def test_others_read_what_was_added() -> None:
    sent = b"From: alice@example.org\r\nBcc: bob@example.org\r\n\r\nHello\r\n"
    message = email.message_from_bytes(complete(sent, remove_bcc=True), policy=email.policy.SMTP)
    assert message.keys() == ["From", "Date", "Message-ID"]
    assert message["Date"].datetime.timestamp() == int(WHEN)
    assert message["Message-ID"] == "<1m81yw237y5dnr66@mail.example.org>"
    assert message.get_content() == "Hello\r\n"


def expected(message: bytes, remove_bcc: bool) -> bytes:
    """The same by another way: whole lines, of a whole message."""
    lines, rest = head_and_text(message)
    names = {name for name, _ in lines}
    removed = (b"bcc", b"resent-bcc") if remove_bcc else ()
    missing = (b"" if b"date" in names else DATE) + (b"" if b"message-id" in names else ID)
    header = b"".join(line for name, line in lines if name not in removed)
    if header and not header.endswith(b"\r\n") and missing:
        header += b"\r\n"
    if rest and not rest.startswith(b"\r\n"):
        missing += b"\r\n"
    return header + missing + rest


pieces = st.lists(
    st.sampled_from(
        [b"Date", b"message-ID", b"Bcc", b"resent-bcc", b"X", b":", b" ", b"\t", b"\r\n", b"\r", b"\n", b".",
         b"Subject: x\r\n", b"Bcc: y\r\n", b"Date: z\r\n", b"\r\n\r\n", b"\xc3\xa9", b"\0"]
    )
    | st.binary(max_size=3),
    max_size=24,
).map(b"".join)  # fmt: skip


@given(pieces, st.booleans(), st.data())
def test_any_message_in_any_pieces(message: bytes, remove_bcc: bool, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=8)))
    wanted = expected(message, remove_bcc)
    assert complete(message, remove_bcc=remove_bcc) == wanted
    assert complete(message, cuts, remove_bcc=remove_bcc) == wanted
    assert complete(message, range(len(message)), remove_bcc=remove_bcc) == wanted


@given(pieces, st.booleans())
def test_a_completed_message_is_complete(message: bytes, remove_bcc: bool) -> None:
    once = complete(message, remove_bcc=remove_bcc)
    assert complete(once, remove_bcc=remove_bcc) == once


@pytest.mark.parametrize("size", [1, 1000, 65536])
@pytest.mark.parametrize("octets", [b"X-Field: y\r\n", b"X: y\r\n folded\r\n", b"y", b"\r", b" ", b"\0"])
@pytest.mark.parametrize("begun", [b"", b"X: y", b"X: y\r\n"])
def test_nothing_is_hoarded(begun: bytes, octets: bytes, size: int) -> None:
    """However long a header, a line, a name: all but a few octets are passed on as they come."""
    one = completer()
    message = begun + octets * (200_000 // len(octets))
    fed = passed = 0
    for piece in [message[at : at + size] for at in range(0, min(len(message), 1000 * size), size)]:
        fed += len(piece)
        passed += len(one.feed(piece))
        assert fed - passed <= 512


def test_what_is_removed_is_not_kept_either() -> None:
    one = completer(remove_bcc=True)
    piece = b"Bcc: somebody@example.org,\r\n other@example.org\r\n" * 500
    tracemalloc.start()
    try:
        assert not any(one.feed(piece) for _ in range(20))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < len(piece)


class Counting(HeadCompleter):
    """Counts the lines that are looked at one by one."""

    looked_at = 0

    def _is_header(self, data: bytes, at: int) -> bool | None:
        self.looked_at += 1
        return super()._is_header(data, at)


@pytest.mark.parametrize("remove_bcc", [False, True])
@pytest.mark.parametrize(
    "line", [b"a:\r\n", b"Date:\r\n", b"Bcc:\r\n", b" \r\n", b"\t\n\r.\r\n", b"Subject: hello\r\n \r\n"]
)
@pytest.mark.parametrize("first", [b"a: b\r\n", b"Bcc: a@b\r\n"])
def test_most_lines_of_a_header_need_no_look(first: bytes, line: bytes, remove_bcc: bool) -> None:
    """49 MiB of such lines took 15 seconds when each was looked at, and takes two."""
    one = Counting(hostname="h", id="1", when=WHEN, remove_bcc=remove_bcc)
    one.feed(first)
    for _ in range(4):
        one.feed(line * 10_000)
    assert one.looked_at < 20
    one.feed(b"\r\nbody\r\n")
    assert one.finish() == b""
