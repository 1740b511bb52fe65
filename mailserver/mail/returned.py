"""The part of a report that returns the message: its header, or the whole message (RFC 3461 section 4.3).

A returned header is 7-bit, encoded if necessary (RFC 6522 section 4). A whole message cannot be encoded
(RFC 2046 section 5.2.1). If its lines are too long or its line ends are not CRLF, its header is returned.
"""

import binascii
from collections.abc import Iterable

import attrs

HEADER = 64 * 1024  # octets of a returned header
WHOLE = 64 * 1024  # octets of a message that is returned whole, unless the sender wants the header
WHOLE_ON_REQUEST = 1024 * 1024  # the same, if the sender wants the whole message
MAX_LINE = 998  # octets (RFC 5322 section 2.1.1)


@attrs.frozen
class MimePart:
    """A part of a report: its type with parameters, its transfer encoding, and its encoded content."""

    type: str
    encoding: str
    content: bytes

    @property
    def is_message(self) -> bool:
        """Whether this is a whole message."""
        return self.type in ("message/rfc822", "message/global")

    @property
    def octets(self) -> bytes:
        """The part with its header, and a CRLF at its end."""
        fields = f"Content-Type: {self.type}\r\nContent-Transfer-Encoding: {self.encoding}\r\n\r\n"
        return fields.encode() + self.content + b"\r\n"


def is_returned_whole(ret: str, octets: int) -> bool:
    """Whether a failure report returns the whole message. ``ret`` is the parameter RET, "" without one."""
    wanted = ret.upper()
    return wanted != "HDRS" and octets <= (WHOLE_ON_REQUEST if wanted == "FULL" else WHOLE)


def text_part(type: str, content: bytes) -> MimePart:
    """A part of text with CRLF line ends, as 7-bit octets or in quoted-printable."""
    if content.isascii() and _has_mail_lines(content):
        return MimePart(type, "7bit", content)
    return MimePart(type, "quoted-printable", quoted_printable(content))


def header_part(header: bytes, *, utf8: bool) -> MimePart:
    """The header of a message. ``utf8``: the report requires SMTPUTF8."""
    if utf8 and not header.isascii() and _is_utf8(header) and _has_mail_lines(header):
        return MimePart("message/global-headers", "8bit", header)
    charset = "; charset=utf-8" if not header.isascii() and _is_utf8(header) else ""
    return text_part(f"text/rfc822-headers{charset}", header)


def message_part(message: bytes, *, utf8: bool) -> MimePart:
    """A whole message, or its header if the message cannot be returned as it is."""
    header = header_of([message])
    if not _has_mail_lines(message):
        return header_part(header, utf8=utf8)
    if header.isascii():
        return MimePart("message/rfc822", "7bit" if message.isascii() else "8bit", message)
    if utf8 and _is_utf8(header):
        return MimePart("message/global", "8bit", message)
    return header_part(header, utf8=utf8)


def header_of(chunks: Iterable[bytes], limit: int = HEADER) -> bytes:
    """The header of a message that comes in pieces, in whole lines, at most ``limit`` octets."""
    content = beginning_of(chunks, limit)
    end = content.find(b"\r\n\r\n", 0, limit)
    if content.startswith(b"\r\n"):
        return b""
    if end >= 0:
        return content[: end + 2]
    return content[: content.rfind(b"\r\n", 0, limit) + 2] if b"\r\n" in content[:limit] else b""


def beginning_of(chunks: Iterable[bytes], limit: int) -> bytes:
    """At least ``limit`` octets, unless there are fewer."""
    pieces: list[bytes] = []
    octets = 0
    for chunk in chunks:
        pieces.append(chunk)
        octets += len(chunk)
        if octets >= limit:
            break
    return b"".join(pieces)


def quoted_printable(content: bytes) -> bytes:
    """Encode text with CRLF line ends (RFC 2045 section 6.7). Other CR and LF are encoded."""
    lines = [binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in content.split(b"\r\n")]
    return b"\r\n".join(lines)


def _has_mail_lines(content: bytes) -> bool:
    """Whether all lines end with CRLF and are short enough for mail, and no octet is NUL."""
    lines = content.count(b"\r\n")
    if b"\0" in content or content.count(b"\r") != lines or content.count(b"\n") != lines:
        return False
    return all(len(line) <= MAX_LINE for line in content.split(b"\r\n"))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
