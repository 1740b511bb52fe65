"""The surrogate of a message with UTF-8 in its header (RFC 6858)."""

import base64
import email
import email.policy
import re
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailserver.mail.surrogate import EXTRA, MAX_CONVERTED, MAX_HELD, Surrogate, needs_surrogate
from mailserver.mail.surrogate_fields import INVALID_ADDRESS


def surrogate(message: bytes, size: int = 0) -> bytes:
    """The surrogate, made of pieces of this size."""
    size = size or len(message) or 1
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(Surrogate().pieces(pieces))


def word(text: str) -> str:
    return f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?="


FIELDS = {
    # what stays
    "Subject: plain": "Subject: plain",
    b"Subject: \xff\xfe": b"Subject: \xff\xfe",  # not UTF-8
    "X-Other:\r\n folded\r\n\tagain": "X-Other:\r\n folded\r\n\tagain",
    # subjects
    "Subject: привет": f"Subject: {word('привет')}",
    "SUBJECT:привет,\r\n мир": f"SUBJECT: {word('привет, мир')}",
    "Subject: " + "ы" * 20: f"Subject: {word('ы' * 19)}\r\n {word('ы')}",
    # addresses
    "From: Оля <olya@example.org>": f"From: {word('Оля')}\r\n <olya@example.org>",
    "From: =?utf-8?q?J=C3=B6rg?= <jörg@example.org>": (
        f"From: =?utf-8?q?J=C3=B6rg?=\r\n {word('jörg@example.org')}\r\n {INVALID_ADDRESS}"
    ),
    'From: "Оля \\"Ю\\"" <olya@example.org>': "From: " + word('Оля "Ю"') + "\r\n <olya@example.org>",
    "From: olya@example.org (Оля)": f"From: {word('Оля')}\r\n <olya@example.org>",
    "Sender: Оля <оля@пример.рф>": f"Sender: {word('Оля оля@пример.рф')}\r\n {INVALID_ADDRESS}",
    "Reply-To: оля@пример.рф": f"Reply-To: {word('оля@пример.рф')}\r\n {INVALID_ADDRESS}",
    'Cc: "A, B" <a@b.example>, ы@b.example,\r\n c@d.example': (
        f'Cc: "A, B" <a@b.example>,\r\n {word("ы@b.example")}\r\n {INVALID_ADDRESS},\r\n c@d.example'
    ),
    "To: Друзья: a@b.example, ы@b.example;": (
        f"To: {word('Друзья')}:\r\n a@b.example,\r\n {word('ы@b.example')}\r\n {INVALID_ADDRESS};"
    ),
    "To: ы@b.example,, a@b.example": f"To: {word('ы@b.example')}\r\n {INVALID_ADDRESS},\r\n a@b.example",
    "Resent-To: (ы)": "Resent-To: ",
    "Bcc: <ы@b.example": None,
    "Bcc: (ы": None,
    "Return-Path: <ы@b.example>": f"Return-Path: {INVALID_ADDRESS}",
    # parameters
    "Content-Disposition: attachment; filename=ы; size=3": "Content-Disposition: attachment; size=3",
    'Content-Type: text/plain; name="a;ы";\r\n charset=utf-8': "Content-Type: text/plain;\r\n charset=utf-8",
    "Content-Type: text/ы": None,
    # others
    "Received: for <ы@b.example>; now": None,
    "Message-ID: <ы@b.example>": None,
    "Subject ы: x": None,
    "no field, ы": None,
}  # fmt: skip


def octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@pytest.mark.parametrize("field", FIELDS)
def test_a_field(field: str | bytes) -> None:
    expected = FIELDS[field]
    before, after = b"A: 1\r\n", b"Z: 2\r\n\r\nbody \xd1\x8b\r\n"
    line = b"" if expected is None else octets(expected) + b"\r\n"
    message = before + octets(field) + b"\r\n" + after
    assert surrogate(message) == before + line + after
    assert needs_surrogate([message]) == (octets(field) + b"\r\n" != line)


PARTS = """Subject: ы\r
Content-Type: multipart/mixed; boundary="b 1"\r
\r
Subject: ы in the preamble\r
--b 1\r
Content-Type: text/plain; name=ы\r
\r
Subject: ы in a body\r
--b 1 \r
Content-Type: message/rfc822\r
\r
Subject: ы\r
Content-Type: multipart/digest; boundary=c\r
\r
--c\r
\r
Subject: ы\r
\r
Subject: ы in a body\r
--c\r
Content-Type: text/plain; name=ы\r
--c\r
\r
Subject: ы\r
\r
Subject: ы in a body\r
--c\r
Content-Type: text/plain; name=ы\r
--c--\r
--b 1\r
Content-Type: message/rfc822\r
Content-Transfer-Encoding: base64\r
Content-Disposition: inline; name=ы\r
\r
Subject: ы in a body\r
--b 1--\r
--b 1\r
Subject: ы in the epilogue\r
"""


def test_parts_and_attached_messages() -> None:
    """Every field is converted and no body is, also where the pieces are cut anywhere."""
    expected = PARTS.replace("Subject: ы\r", f"Subject: {word('ы')}\r").replace("; name=ы", "")
    message = PARTS.encode()
    for size in range(1, len(message)):
        assert surrogate(message, size) == expected.encode()
    for line_end in (b"\r\n", b"\r\n\r\n"):
        ascii_head = message.replace("Subject: ы".encode() + line_end, b"Subject: x" + line_end)
        assert needs_surrogate([ascii_head])


def test_no_part_of_a_message_without_utf8_in_a_header_is_changed() -> None:
    message = PARTS.replace("Subject: ы\r", "Subject: x\r").replace("; name=ы", "").encode()
    assert surrogate(message, 10) == message
    assert not needs_surrogate([message])


@given(st.text(), st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n")))
@example("x", '"')
def test_readers_see_the_text(name: str, subject: str) -> None:
    subject = f"ы{subject}"
    message = f"From: ы\r\nSubject: {subject}\r\n\r\n".encode()
    found = email.message_from_bytes(surrogate(message), policy=email.policy.compat32)["Subject"]
    words = re.findall(r"=\?utf-8\?b\?([^?]*)\?=", found)
    assert b"".join(map(base64.b64decode, words)).decode() == subject.strip()
    assert all(len(line) <= 76 for line in surrogate(message).split(b"\r\n"))


@given(st.binary(max_size=300), st.integers(1, 9))
def test_any_octets(data: bytes, size: int) -> None:
    for message in (data, b"Subject: " + data, b"To: " + data, PARTS.encode()[:200] + data):
        made = surrogate(message, size)
        assert made == surrogate(message)
        assert needs_surrogate([message]) == (made != message)
        assert surrogate(made) == made


PIECES = st.sampled_from(
    [
        *(
            b"Subject: ",
            b"Content-Type: multipart/mixed; boundary=b",
            b"Content-Type: message/rfc822",
            b"To: ",
        ),
        *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b":", b"--b", b"--b--", b"\r\n--b\r\n", b"\r\n--x\r\n"),
        *(b"\xd1\x8b", b"\xff", b"x" * 9),
    ]
)


@given(st.lists(PIECES, max_size=40).map(b"".join), st.integers(1, 60))
def test_the_limits_do_not_depend_on_the_pieces(message: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        limits = {"MAX_HELD": 50, "MAX_VALUE": 45, "MAX_CONVERTED": 60, "EXTRA": 9, "MAX_PARTS": 4}
        limits["MAX_DELIMITERS"] = 3
        for name, value in limits.items():
            patch.setattr(f"mailserver.mail.surrogate.{name}", value)
        assert surrogate(message, size) == surrogate(message)


def test_lines_that_begin_like_a_delimiter(monkeypatch: pytest.MonkeyPatch) -> None:
    """After many of them the rest stays as it is, which bounds the time."""
    monkeypatch.setattr("mailserver.mail.surrogate.MAX_DELIMITERS", 3)
    part = "--b\r\nSubject: ы\r\n\r\n".encode()
    converted = f"--b\r\nSubject: {word('ы')}\r\n\r\n".encode()
    for lines in range(5):
        before = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--x\r\n" * lines
        for size in (0, 1, 7):
            assert surrogate(before + part, size) == before + (converted if lines < 3 else part)


@pytest.mark.parametrize("before", [b"", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"])
def test_fields_that_are_too_long(before: bytes) -> None:
    """They are not held; only their octets outside ASCII go."""
    message = f"A: 1\r\nSubject: {'ы ' * MAX_HELD}\r\n ы\r\nTo: ы@x.example\r\n\r\nbody".encode()
    for first in (b"A: 1\r\n", b""):
        text = before + message.replace(b"A: 1\r\n", first)
        made = surrogate(text, 1000)
        assert made == surrogate(text) and made.isascii()
        assert made.startswith(before + first + b"Subject: ?? ?? ") and made.endswith(b"\r\n\r\nbody")
        assert made.count(b"\r\nTo: =?utf-8?b?") == made.count(b"Subject") == 1


@pytest.mark.parametrize(
    "message",
    [
        "Subject: ы\r\n".encode() * 20_000,
        b"To: " + "ы@x.example, ".encode() * 50_000,
        b"To: " + b'"' * 30_000 + "ы".encode(),
        b"To: " + b"(" * 60_000 + "ы\r\n".encode(),
        b"Content-Type: x; " + b'"' * 60_000 + "ы\r\n".encode(),
        b"Subject: x\r\n" + "\r\n ы".encode() * 200_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--b\r\nA: ы\r\n\r\n".encode() * 20_000,
        b"Content-Type: message/rfc822\r\n\r\n" * 100_000 + "Subject: ы\r\n".encode(),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--ы\r\n".encode() * 200_000,
    ],
)
def test_linear_time(message: bytes) -> None:
    pieces = [message[at : at + 65536] for at in range(0, len(message), 65536)]
    began = time.process_time()
    for _ in Surrogate().pieces(pieces):
        pass
    assert time.process_time() - began < 2


# One header field of each kind that takes long, short enough to be converted.
SLOW_FIELDS = [
    b"To: " + b"\xd1\x8b," * 5400,
    *(b"To: \xd1\x8b" + octets * 8000 for octets in (b" a", b"()", b"::", b'""', b",,")),
    b"To: \xd1\x8b" + b"(" * 8000 + b")" * 8000,
    *(b"To: \xd1\x8b," * 100 + octets for octets in (b"(", b'"', b"<")),
    b"To:\xd1\x8b",
    *(b"To: \xd1\x8b" + start + (b"\\" + start) * 8000 for start in (b'"', b"[")),
    b"Content-Type: a" + b';\\"' * 5000 + b"\xd1\x8b",
    b"Subject: " + b"\xd1\x8b" * 8000,
    b"Content-Type: a" + b";\xd1\x8b" * 5000,
    b"X:\xd1\x8b",
    b"X:\xff",
]


def calls_of(function: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("field", SLOW_FIELDS, ids=lambda field: repr(field[:9] + field[-1:]))
def test_the_work_is_bounded(field: bytes) -> None:
    """A header four times as long needs a few calls more for each field, and converts no more."""
    header = (field + b"\r\n") * (65536 // (len(field) + 2))
    fields = header.count(b"\r\n")
    once = calls_of(lambda: b"".join(Surrogate().pieces([header])))
    assert once < 10 * MAX_CONVERTED + 4 * fields
    assert calls_of(lambda: b"".join(Surrogate().pieces([header * 4]))) < once + 3 * fields * 12


def test_what_is_too_much_to_be_converted() -> None:
    """Octets outside ASCII are masked: in a field that is too long, and at last in all."""
    long = b"To: " + b"\xd1\x8b <a@b.example>, " * (MAX_CONVERTED // 17)
    subject = "Subject: ы\r\n".encode()
    made = surrogate(long + b"\r\n" + subject * (MAX_CONVERTED // len(subject)) + b"X: \xff\r\n")
    first, *subjects, other, last = made.split(b"\r\n")
    assert first == long.replace("ы".encode(), b"\x7f\x7f")
    count = MAX_CONVERTED // (len(subject) + EXTRA)
    converted = f"Subject: {word('ы')}".encode()
    assert subjects == [converted] * count + [b"Subject: ??"] * (len(subjects) - count)
    assert len(subjects) > count > 100
    assert (other, last) == (b"X: ?", b"")
