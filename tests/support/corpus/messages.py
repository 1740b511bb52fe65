"""Messages with content that clients and servers have stumbled over, as octets with CRLF line ends."""

import base64

HEAD = (
    b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    b"From: Alice <alice@example.org>\r\n"
    b"To: bob@example.org\r\n"
    b"Message-ID: <%s@client.example>\r\n"
    b"Subject: %s\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
)


def message(name: str, body: bytes) -> bytes:
    """A whole message around a body."""
    word = name.encode()
    return HEAD % (word, word) + body


def attachment(octets: int) -> bytes:
    """A multipart body with a base64 attachment of this decoded length."""
    data = base64.encodebytes(bytes(range(256)) * (octets // 256)).replace(b"\n", b"\r\n")
    return (
        b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
        b"From: alice@example.org\r\n"
        b"To: bob@example.org\r\n"
        b"Message-ID: <attachment@client.example>\r\n"
        b"Subject: attachment\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="edge"\r\n'
        b"\r\n"
        b"--edge\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n"
        b"--edge\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + data
        + b"--edge--\r\n"
    )


MESSAGES = {
    "plain": message("plain", b"Hello Bob,\r\nthis is all.\r\n"),
    "dots": message("dots", b".\r\n..\r\n...\r\n.leading\r\n..two\r\nmiddle . dot\r\n.\r\n"),
    "empty-lines": message("empty-lines", b"\r\n\r\n\r\ntext\r\n\r\n\r\n\r\n"),
    "eight-bit": message("eight-bit", "Grüße, Ωμέγα, 日本語 🙂\r\n".encode() * 20 + b"\xe9\xff\xfe\x80\r\n"),
    "long-lines": message(
        "long-lines", b"x" * 5000 + b"\r\n" + b".y" * 2500 + b"\r\n" + b"z" * 998 + b"\r\n"
    ),
    "empty-body": message("empty-body", b""),
    "only-dots": message("only-dots", b".\r\n" * 700),
    "attachment": attachment(1 << 20),
}
UNENDED = message("unended", b"The last line has no end\r\n.")
"""No line end at the end: what arrives has one, since SMTP has no message without."""

TRACE = (b"return-path", b"delivered-to", b"received")


def original(stored: bytes) -> bytes:
    """What the client sent: a stored message without the trace fields that the server put before it.

    Each of them must be there once, and nothing else in front; Delivered-To may be left out, as it
    is where a message goes to several mailboxes by their own names.
    """
    expected = set(TRACE)
    rest = stored
    while expected - {b"delivered-to"}:
        name = rest.partition(b":")[0].lower()
        assert name in expected, f"wanted a field of {sorted(expected)} and found {rest[:80]!r}"
        expected.discard(name)
        rest = _after_field(rest)
    return rest


def _after_field(octets: bytes) -> bytes:
    """What follows the first header field, which may be folded over several lines."""
    end = octets.index(b"\r\n") + 2
    while octets[end : end + 1] in (b" ", b"\t"):
        end = octets.index(b"\r\n", end) + 2
    return octets[end:]


def unix(octets: bytes) -> bytes:
    """As a program keeps it that writes files with LF."""
    return octets.replace(b"\r\n", b"\n")
