"""Messages for servers without 8BITMIME: what Python's email package reads stays the same, in 7 bits."""

import email
import re
from base64 import encodebytes
from email.message import Message

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailserver.mail.conversion import MAX_PARTS, Needs, needs, to_seven_bit
from tests.support.corpus import generated, sources

E = "\u00e9".encode()
TEXT = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
LIMIT = 1 << 26


def lines(*some: bytes | str) -> bytes:
    return b"".join((one.encode() if isinstance(one, str) else one) + b"\r\n" for one in some)


def multipart(*parts: bytes, kind="mixed", boundary="b", fields=b"", close=True) -> bytes:
    head = fields + lines(f'Content-Type: multipart/{kind}; boundary="{boundary}"', "")
    text = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    return head + text + (b"--%b--\r\n" % boundary.encode() if close else b"")


def converted(message: bytes, *, binary: bool = False) -> bytes | None:
    return to_seven_bit([message], LIMIT, binary=binary)


# ------------------------------------------------------------ what a message needs


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", Needs(False, False)),
        (b"Subject: x\r\n\r\ntext\r\n", Needs(False, False)),
        (b"Subject: x\r\n\r\ncaf" + E, Needs(True, False)),
        (b"Subject: caf" + E + b"\r\n\r\ntext", Needs(True, True)),
        (b"Subject: caf" + E, Needs(True, True)),
        (b"\r\n" + E, Needs(True, False)),
        (b"\r\nS: x\r\n\r\n" + E, Needs(True, False)),
    ],
)
def test_needs(message: bytes, expected: Needs) -> None:
    assert needs([message]) == expected
    assert needs(bytes([octet]) for octet in message) == expected
    for cut in range(len(message)):
        assert needs([message[:cut], message[cut:]]) == expected


# ------------------------------------------------------------ single messages, octet by octet

CASES = {
    "quoted-printable for text": (
        TEXT + b"Content-Transfer-Encoding: 8bit\r\n\r\nUn caf\xc3\xa9 = 1 \r\n.\r\n",
        TEXT + b"Content-Transfer-Encoding: quoted-printable\r\n\r\nUn caf=C3=A9 =3D 1=20\r\n=2E\r\n",
    ),
    "base64 for other texts": (
        TEXT + b"Content-transfer-encoding : 8BIT (mostly)\r\nX: y\r\n\r\n" + E * 40 + b"\r\n",
        TEXT
        + b"Content-transfer-encoding : base64\r\nX: y\r\n\r\n"
        + encodebytes(E * 40 + b"\r\n").replace(b"\n", b"\r\n"),
    ),
    "not MIME": (
        b"Subject: x\r\n\r\nUn caf\xe9 noir\r\n",
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nUn caf=E9 noir\r\n",
    ),
    "no header": (
        b"\r\nUn caf\xe9 noir",
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nUn caf=E9 noir",
    ),
    "one line without an end": (
        TEXT + b"\r\n" + b"x" * 80 + E,
        TEXT + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"x" * 75 + b"=\r\nxxxxx=C3=A9",
    ),
    "labels of 7-bit parts": (
        multipart(
            b"Content-Transfer-Encoding: 8bit\r\n\r\nx",
            multipart(b"\r\ny", boundary="c", fields=b"Content-Transfer-Encoding: binary\r\n"),
            fields=b"Content-Transfer-Encoding:\r\n\t8bit\r\n",
        )
        + b"\xe9",
        multipart(
            b"Content-Transfer-Encoding: 7bit\r\n\r\nx",
            multipart(b"\r\ny", boundary="c", fields=b"Content-Transfer-Encoding: 7bit\r\n"),
            fields=b"Content-Transfer-Encoding: 7bit\r\n",
        )
        + b"?",
    ),
    "only what needs it": (
        multipart(
            b"\r\n8: caf\xe9 noir",
            b"Content-Type: application/octet-stream\r\n\r\n\xff\xfe",
            b"Content-Transfer-Encoding: base64\r\n\r\n/w==",
            b"Content-Transfer-Encoding: 7BIT\r\n\r\n7 ",
        ),
        multipart(
            b"Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: "
            b"quoted-printable\r\n\r\n8: caf=E9 noir",
            b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n//4=",
            b"Content-Transfer-Encoding: base64\r\n\r\n/w==",
            b"Content-Transfer-Encoding: 7BIT\r\n\r\n7 ",
        ),
    ),
    "text around the parts": (
        multipart(b"\r\nx").replace(b"\r\n\r\n--b", b"\r\n\r\npre\xe9\r\n--b") + b"epi\xe9\r\n",
        multipart(b"\r\nx").replace(b"\r\n\r\n--b", b"\r\n\r\npre?\r\n--b") + b"epi?\r\n",
    ),
    "a message in a message": (
        lines("Content-Type: message/rfc822", "Content-Transfer-Encoding: 8bit", "", "", "abcdefg \u00e9"),
        lines(
            "Content-Type: message/rfc822",
            "Content-Transfer-Encoding: 7bit",
            "",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=unknown-8bit",
            "Content-Transfer-Encoding: quoted-printable",
            "",
            "abcdefg =C3=A9",
        ),
    ),
    "a digest": (
        multipart(b"\r\nContent-Type: text/plain\r\n\r\nabcd\xe9efgh", kind="digest"),
        multipart(
            b"\r\nContent-Type: text/plain\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: "
            b"quoted-printable\r\n\r\nabcd=E9efgh",
            kind="digest",
        ),
    ),
    "a message of RFC 6532 may be encoded": (
        lines("Content-Type: message/global", "", "Subject: \u00e9"),
        b"Content-Type: message/global\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"U3ViamVjdDogw6kNCg==\r\n",
    ),
    "delimiters": (
        b'Content-Type: multipart/mixed; boundary="b "\r\n\r\n--b\r\n\r\nabcd\xe9efgh\r\n'
        b"--bb\r\n--c\r\n --b\r\n-- b\r\n--b-\r\n--bx-\r\n\xe9\r\n--b \t\r\n\r\nx\r\n--b--\t\r\n\xe9",
        b'Content-Type: multipart/mixed; boundary="b "\r\n\r\n--b\r\n'
        b"Content-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nabcd=E9efgh\r\n"
        b"--bb\r\n--c\r\n --b\r\n-- b\r\n--b-\r\n--bx-\r\n=E9\r\n--b \t\r\n\r\nx\r\n--b--\t\r\n?",
    ),
    "an inner multipart that is not closed": (
        multipart(multipart(b"\r\nx", boundary="c", close=False)[:-2], b"\r\nabcde\xe9"),
        multipart(
            multipart(b"\r\nx", boundary="c", close=False)[:-2],
            b"Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: "
            b"quoted-printable\r\n\r\nabcde=E9",
        ),
    ),
    "empty parts": (
        lines(
            "Content-Type: multipart/mixed; boundary=b", "", "--b", "--b", "X: y", "--b",
            "", "12345\u00e9\u00e9",
        ),
        lines(
            "Content-Type: multipart/mixed; boundary=b", "", "--b", "--b", "X: y", "--b",
            "Content-Type: text/plain; charset=unknown-8bit",
            "Content-Transfer-Encoding: base64", "", "MTIzNDXDqcOp",
        ),
    ),
    "a signature that is 7-bit": (
        multipart(
            multipart(b"Content-Transfer-Encoding: 8bit\r\n\r\nx", kind="signed", boundary="s"),
            b"\r\nabcde\xe9",
        ),
        multipart(
            multipart(b"Content-Transfer-Encoding: 8bit\r\n\r\nx", kind="signed", boundary="s"),
            b"Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: "
            b"quoted-printable\r\n\r\nabcde=E9",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), CASES.values(), ids=CASES)
def test_converted(message: bytes, expected: bytes) -> None:
    assert converted(message) == expected
    assert to_seven_bit((bytes([octet]) for octet in message), len(message)) == expected
    assert converted(expected) == expected
    assert to_seven_bit([message], len(message) - 1) is None


PART = b"\r\nabcde\xe9"
IMPOSSIBLE = {
    "the header": b"Subject: \xe9\r\n\r\nx",
    "the header alone": b"Subject: \xe9",
    "the header of a part": multipart(b"X: \xe9\r\n\r\nx"),
    "the header of a part without a body": multipart(b"X: \xe9"),
    "a signed part": multipart(PART, kind="signed"),
    "a signed part in a part": multipart(multipart(PART, kind="signed", boundary="s")),
    "a DKIM signature": b"dkim-signature: v=1\r\n" + TEXT + b"\r\nabcde\xe9",
    "a DKIM signature of a message in a message": multipart(
        b"Content-Type: message/rfc822\r\n\r\nDKIM-Signature: v=1\r\n\r\nabcde\xe9"
    ),
    "encoded twice": b"Content-Transfer-Encoding: quoted-printable\r\n\r\nabcde\xe9",
    "an unknown encoding": b"Content-Transfer-Encoding: x-8\r\n\r\nabcde\xe9",
    "an encoded multipart": multipart(PART, fields=b"Content-Transfer-Encoding: base64\r\n"),
    "two types": b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nabcde\xe9",
    "two encodings": b"Content-Transfer-Encoding: 8bit\r\n" * 2 + b"\r\nabcde\xe9",
    "a malformed type": b"Content-Type: text\r\n\r\nabcde\xe9",
    "no boundary": b"Content-Type: multipart/mixed\r\n\r\n--b\r\n" + PART + b"\r\n--b--\r\n",
    "the boundary of the parts around": multipart(multipart(PART)),
    "two boundaries": b"Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n--b\r\n" + PART,
    "a boundary of RFC 2231": b"Content-Type: multipart/mixed; boundary*0=b\r\n\r\n--b\r\n" + PART,
    "garbage after the boundary": b"Content-Type: multipart/mixed; boundary=b c\r\n\r\n--b\r\n" + PART,
    "no part": multipart().replace(b"--b--", b"abcde\xe9"),
    "a line that is no field": multipart(b"X: y\r\nno field\r\n" + PART),
    "a lone CR in a header": b"X: a\rContent-Type: text/plain\r\n\r\nabcde\xe9",
    "a status report": b"Content-Type: message/delivery-status\r\n\r\nX: abcd\xe9",
    "too deep": b"Content-Type: message/rfc822\r\n\r\n" * 60 + PART,
    "too many parts": multipart(*[b"\r\nx"] * MAX_PARTS, PART),
}


@pytest.mark.parametrize("message", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible(message: bytes) -> None:
    assert converted(message) is None
    ascii_only = message.replace(b"\xe9", b"e")
    assert converted(ascii_only) == ascii_only


# ------------------------------------------------------------ any messages, as another reader sees them


def leaves(message: bytes) -> list[tuple[str, object]]:
    """The types and the decoded contents of all parts."""
    return [
        (part.get_content_type(), part.get_payload(decode=True))
        for part in email.message_from_bytes(message).walk()
        if not part.is_multipart()
    ]


def check(message: bytes) -> None:
    result = converted(message)
    if result is None:
        return
    assert result.isascii()
    assert leaves(result) == leaves(message)
    assert converted(result) == result
    longest = max(map(len, message.split(b"\r\n")))
    assert max(map(len, result.split(b"\r\n"))) <= max(longest, 78)


bodies = st.one_of(
    st.text().map(str.encode),
    st.binary(),
    st.lists(st.sampled_from([b"\r\n", b"text ", E, b"=", b".", b"\t", b"x" * 90, b"\0", b"\r\n--", b"--b1"]))
    .map(b"".join),
)  # fmt: skip
encodings = st.sampled_from([None, "8bit", "binary", "7bit"])


def leaf(kind: str, encoding: str | None, body: bytes) -> bytes:
    label = f"Content-Transfer-Encoding: {encoding}\r\n" if encoding else ""
    # email ends lines at a lone CR or LF, too, and so may see a delimiter there
    body = re.sub(rb"(?:\A|(?<=[\r\n]))-+", b"", re.sub(rb"(?<!\r)\n|\r(?!\n)", b"", body))
    return f"Content-Type: {kind}\r\n{label}\r\n".encode() + body


def container(parts: list[bytes], kind: str, encoding: str | None, close: bool, extra: bytes) -> bytes:
    number = sum(part.count(b"boundary=") for part in parts)
    label = f"Content-Transfer-Encoding: {encoding}\r\n" if encoding else ""
    boundary = f"b{number}"
    return extra + multipart(*parts, kind=kind, boundary=boundary, fields=label.encode(), close=close)[:-2]


def enclosed(encoding: str | None, message: bytes) -> bytes:
    label = f"Content-Transfer-Encoding: {encoding}\r\n" if encoding else ""
    return f"Content-Type: message/rfc822\r\n{label}\r\n".encode() + message


leaf_parts = st.builds(
    leaf, st.sampled_from(["text/plain", "text/html; charset=utf-8", "image/png"]), encodings, bodies
)
trees = st.recursive(
    leaf_parts,
    lambda parts: st.one_of(
        st.builds(
            container,
            st.lists(parts, min_size=1, max_size=4),
            st.sampled_from(["mixed", "alternative", "related"]),
            encodings,
            st.booleans(),
            st.sampled_from([b"", b"X-Field: y\r\n folded\r\n"]),
        ),
        st.builds(enclosed, encodings, parts),
    ),
    max_leaves=8,
)


@given(trees, st.booleans())
@example(leaf("text/plain", None, b"a\xe9 \t"), False)
def test_any_tree(message: bytes, ended: bool) -> None:
    message += b"\r\n" if ended else b""
    assert converted(message) is not None
    check(message)


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", E, b" ", b"=", b"x" * 75])).map(b"".join))
def test_any_text(text: bytes) -> None:
    """With lone CR and LF, too: they must not become line ends."""
    for kind in (b"text/plain", b"image/png"):
        message = b"Content-Type: %b\r\n\r\n%b" % (kind, text)
        result = converted(message)
        assert result is not None and result.isascii()
        if not text.isascii():
            assert leaves(result)[0][1] == text


@given(st.lists(st.sampled_from(
    [b"\r\n", b"--b", b"--", b"\xe9", b"Content-Type: ", b"multipart/mixed; boundary=b", b"text/plain",
     b"Content-Transfer-Encoding: 8bit", b"x", b" ", b'"', b"\\", b"(", b";", b"message/rfc822"],
)).map(b"".join))  # fmt: skip
def test_any_octets(message: bytes) -> None:
    result = converted(message)
    assert result is None or result.isascii()
    assert result is not None or not message.isascii()


REAL = {**generated.generated(), **{name: sources.as_sent(data) for name, data in sources.cpython().items()}}


@pytest.mark.parametrize("message", REAL.values(), ids=REAL)
def test_real_and_hostile_messages(message: bytes) -> None:
    if b'"b999"' in message:
        converted(message)  # deeper than the email package can go
    else:
        check(message)


# ------------------------------------------------------------ BODY=BINARYMIME (RFC 3030)

BODIES = {
    "NUL": b"a\0b",
    "bare LF": b"a\nb\r\n",
    "bare CR": b"a\rb\r\n",
    "CR at the end": b"a\r",
    "long line": b"a" * 999 + b"\r\n",
}


@pytest.mark.parametrize("kind", ["text/plain", "image/x-test"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_binary_body_is_encoded(body: bytes, kind: str) -> None:
    head = lines("MIME-Version: 1.0", f"Content-Type: {kind}", "Content-Transfer-Encoding: binary", "")
    found = converted(head + body, binary=True)
    assert found is not None and found.isascii() and b"\0" not in found
    assert max(map(len, found.split(b"\r\n"))) <= 998 and found.count(b"\n") == found.count(b"\r\n")
    payload = email.message_from_bytes(found).get_payload(decode=True)
    assert payload == body
    part = multipart(lines(f"Content-Type: {kind}", "") + body)
    found = converted(part, binary=True)
    assert found is not None
    inner = email.message_from_bytes(found).get_payload(0)
    assert isinstance(inner, Message) and inner.get_payload(decode=True) == body


def test_a_binary_body_that_is_7_bit_only_loses_its_label() -> None:
    head = lines("MIME-Version: 1.0", "Content-Transfer-Encoding: binary", "")
    assert converted(head + b"x\r\n", binary=True) == head.replace(b"binary", b"7bit") + b"x\r\n"


@pytest.mark.parametrize(
    "message",
    [b"A: b\nC: d\r\n\r\nx", b"Content-Type: multipart/signed; boundary=b\r\n\r\na\nb", b"A: b\0\r\n\r\nx"],
)
def test_a_binary_message_that_cannot_be_converted(message: bytes) -> None:
    assert converted(message, binary=True) is None
