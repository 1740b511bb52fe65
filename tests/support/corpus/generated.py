"""Hostile messages made by rule, the same ones every time; octets with CRLF line ends.

What a client could send and a server could stumble over: octets, lines, dots and sizes. Messages of
real senders come from elsewhere; see ``sources``.
"""

import base64
import random
from collections.abc import Iterator

from tests.support.corpus.messages import message

EDGES = (4096, 16384, 65536)


def generated() -> dict[str, bytes]:
    """All of them by name."""
    found: dict[str, bytes] = {}
    for part in (_octets, _forms, _lines, _dots_at_edges, _many, _random):
        for name, octets in part():
            assert name not in found
            found[name] = octets
    return found


def malformed() -> dict[str, bytes]:
    """What no message may have (RFC 5321 section 2.3.8): a CR or an LF that stands alone."""
    bare = {
        "cr": b"a\rb\r\n",
        "lf": b"a\nb\r\n",
        "cr-cr-lf": b"a\r\r\n",
        "lf-cr": b"a\n\rb\r\n",
        "cr-first": b"\r\r\n",
        "lf-first": b"\n",
        "cr-in-header": b"Subject: a\rBcc: b@b.example\r\n\r\n",
        "lf-in-header": b"Subject: a\nBcc: b@b.example\r\n\r\n",
        "cr-at-64-kib": b"x" * 65535 + b"\r" + b"x" * 65535 + b"\r\n",
        "lf-late": b"Subject: x\r\n\r\n" + b"line\r\n" * 100_000 + b"line\n",
    }
    return {f"bare-{name}": octets for name, octets in bare.items()}


def _octets() -> Iterator[tuple[str, bytes]]:
    every = bytes(octet for octet in range(256) if octet not in b"\r\n")
    yield "nul", message("nul", b"\0\r\na\0b\r\n\0" * 50 + b"\r\n")
    yield "nul-around-dots", message("nul-around-dots", b"\0.\r\n.\0\r\n\r\n\0.\r\n.\0.\r\n")
    yield "every-octet", message("every-octet", every * 20 + b"\r\n" + every + b"\r\n")
    yield "every-octet-in-header", b"X-Octets: " + every + b"\r\n" + message("every-octet-in-header", b"")
    yield "control", message("control", bytes(range(1, 9)) + b"\x0b\x0c\x1a\x1b[2J\x1b]0;x\x07\x7f\r\n")
    yield "latin-1", message("latin-1", "Grüße aus Köln\r\n".encode("latin-1") * 9)
    yield "utf-8", message("utf-8", "Ωμέγα 日本語 🙂 \u2028\u0085\u202e\r\n".encode() * 9)
    yield (
        "utf-16",
        message("utf-16", "no line end here: 语言".encode("utf-16-le").replace(b"\n", b"") + b"\r\n"),
    )
    yield (
        "bad-utf-8",
        message("bad-utf-8", b"\xc3\x28 \xa0\xa1 \xe2\x28\xa1 \xf0\x28\x8c\xbc \xed\xa0\x80 \xff\xfe\r\n"),
    )
    yield "overlong-utf-8", message("overlong-utf-8", b"\xc0\xae\xc0\xae\xc0\xaf \xc0\x8a \xe0\x80\x8d\r\n")
    yield "bad-utf-8-in-header", b"Subject: \xff\xfe \xc3\r\nFrom: <\xe9@\xe9>\r\n\r\nbody\r\n"
    yield "iso-2022-jp", message("iso-2022-jp", "日本語の本文\r\n".encode("iso-2022-jp") * 9)
    yield "tabs-and-blanks", message("tabs-and-blanks", b" \r\n\t\r\n \t \r\nx \r\nx\t\r\n  \r\n")


def _forms() -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "one-empty-line", b"\r\n"
    yield "two-empty-lines", b"\r\n\r\n"
    yield "header-only", b"Subject: no body, and no empty line\r\n"
    yield "header-and-empty-line", b"Subject: no body\r\n\r\n"
    yield "body-only", b"\r\nThere is no header at all.\r\n"
    yield "no-header", b"This is no header field\r\n\r\nbody\r\n"
    yield "colon-first", b": no name\r\n\r\nbody\r\n"
    yield "folded-first", b" folded, but of what?\r\nSubject: x\r\n\r\nbody\r\n"
    yield "folded-blank", b"Subject: x\r\n \r\n\t\r\n y\r\n\r\nbody\r\n"
    yield "one-octet", b"x\r\n"
    yield "no-final-newline", message("no-final-newline", b"the last line is not ended")
    yield "no-final-newline-dot", message("no-final-newline-dot", b"text\r\n.")
    yield "no-final-newline-header", b"Subject: no line end"
    yield (
        "from-line",
        b"From sender@client.example Mon Nov  2 10:00:00 2026\r\n" + message("from-line", b"x\r\n"),
    )
    yield (
        "from-lines-in-body",
        message("from-lines-in-body", b"From here on\r\n>From there\r\n\r\nFrom x y\r\n" * 9),
    )
    yield (
        "smtp-in-body",
        message("smtp-in-body", b"RSET\r\nMAIL FROM:<evil@b.example>\r\nDATA\r\nQUIT\r\n..\r\n"),
    )
    yield "pop3-in-body", message("pop3-in-body", b"+OK\r\n-ERR\r\n+OK 3 320\r\n.\r\n+OK\r\n..\r\n")
    yield (
        "trace-fields-in-front",
        (
            b"Return-Path: <x@y.example>\r\nDelivered-To: z@y.example\r\nReceived: from a by b; then\r\n"
            + message("trace-fields-in-front", b"a message that was delivered before\r\n")
        ),
    )
    yield "99-received", b"Received: from a by b; long ago\r\n" * 99 + message("99-received", b"x\r\n")
    yield "received-in-body", message("received-in-body", b"Received: from a by b; long ago\r\n" * 200)
    yield "same-field-often", b"Subject: again\r\n" * 500 + b"\r\nbody\r\n"


def _lines() -> Iterator[tuple[str, bytes]]:
    for length in (997, 998, 999, 1000, 5000, 100_000):
        line = (b"0123456789" * (length // 10 + 1))[:length]
        yield f"line-{length}", message(f"line-{length}", line + b"\r\nnext\r\n" + line + b"\r\n")
        yield f"header-line-{length}", b"X-Long: " + line + b"\r\n\r\nbody\r\n"
    yield "line-of-dots", message("line-of-dots", b"." * 100_000 + b"\r\n")
    yield "100000-empty-lines", message("100000-empty-lines", b"\r\n" * 100_000)
    yield "20000-dots", message("20000-dots", b".\r\n" * 20_000)
    yield (
        "dots",
        message("dots", b"".join(b"." * count + b"\r\n" for count in range(1, 100)) + b". \r\n .\r\n"),
    )
    yield "dot-first", b".\r\n..\r\n.Subject: x\r\n\r\n.\r\n"
    yield "dot-after-header", b"Subject: x\r\n\r\n.\r\n"


def _dots_at_edges() -> Iterator[tuple[str, bytes]]:
    """A line with a dot alone, and one that begins with a dot, at every offset around usual buffer sizes.

    On the way out trace fields stand in front; there the lines of every length do the same.
    """
    for edge in EDGES:
        for offset in range(-4, 5):
            start = edge + offset - 2
            yield f"dot-at-{edge}{offset:+}", b"x" * start + b"\r\n.\r\n.tail\r\n"
        body = b"".join(b"." * (1 + n % 3) + b"y" * (n % 7) + b"\r\n" for n in range(edge // 4))
        yield f"dots-past-{edge}", message(f"dots-past-{edge}", body)


def _many() -> Iterator[tuple[str, bytes]]:
    yield "10000-fields", b"".join(b"X-Field-%d: value\r\n" % n for n in range(10_000)) + b"\r\nbody\r\n"
    yield "folded-10000-times", b"X-Folded: a\r\n" + b" and more\r\n" * 10_000 + b"\r\nbody\r\n"
    yield "1000-recipients", b"To: " + b",\r\n ".join(b"u%d@b.example" % n for n in range(1000)) + b"\r\n\r\n"
    yield "1000-parts-deep", b"Subject: deep\r\n" + nested(1000)
    yield "10000-parts", b"Subject: wide\r\n" + parts(10_000)
    yield "forwarded-50-times", b"Content-Type: message/rfc822\r\n\r\n" * 50 + message("inner", b"x\r\n")
    dice = random.Random("base64")
    lines = base64.encodebytes(dice.randbytes(3 << 20)).replace(b"\n", b"\r\n")
    yield "base64-4-mib", message("base64-4-mib", lines)
    yield "base64-one-line", message("base64-one-line", base64.b64encode(dice.randbytes(1 << 20)) + b"\r\n")


def nested(depth: int) -> bytes:
    """What follows the other fields: multiparts, each inside the one before."""
    opened = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(depth)
    )
    return opened + b"\r\ncore\r\n" + b"".join(b"--b%d--\r\n" % n for n in reversed(range(depth)))


def parts(count: int) -> bytes:
    """What follows the other fields: a multipart of so many small parts."""
    part = b"--edge\r\nContent-Type: text/plain\r\n\r\n.\r\n"
    return b'Content-Type: multipart/mixed; boundary="edge"\r\n\r\n' + part * count + b"--edge--\r\n"


def _random() -> Iterator[tuple[str, bytes]]:
    pieces = [b"\r\n", b"\r\n.", b"\r\n..", b".", b"\0", b"\xff", b"From ", b"x" * 500, b"\r\n\r\n", b" "]
    for number in range(12):
        dice = random.Random(f"message {number}")
        yield f"random-{number}", b"".join(dice.choices(pieces, k=200 * (number + 1))) + b"\r\n"
