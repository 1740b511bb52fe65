"""Converts a message for a server without 8BITMIME (RFC 6152 section 3), and tells what a message needs.

Each part that is not 7-bit gets a transfer encoding (RFC 2045 section 6): quoted-printable for text, base64
for the rest. Containers, which are multiparts and message/rfc822, must not be encoded: their parts are
converted. Everything else stays as it is, octet by octet. The following is never converted. An octet outside
ASCII in it makes the conversion impossible:

    header fields               no transfer encoding applies to them; RFC 6532 needs SMTPUTF8
    multipart/signed            its signature would break (RFC 1847 section 2.1)
    a message with a            its signature would break, and it could fail DMARC, as a forged one does.
      DKIM-Signature field      After a bounce the sender can send the message in 7-bit form, and sign that
    ambiguous parts             such as two Content-Type fields, or a multipart without a boundary: other
                                programs could see other parts

Octets outside ASCII before the first and after the last part of a multipart, which readers ignore, become
question marks. Lines end with CRLF; a lone CR or LF is like any other octet.

    delimiter = CRLF "--" boundary [ "--" ] *WSP ( CRLF / end )      ; RFC 2046 section 5.1.1
"""

import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

import attrs

from mailserver.mail.content_type import content_type, field_value
from mailserver.mail.lines import other_fields

MAX_DEPTH = 50  # containers in each other
MAX_PARTS = 20_000
_LINE = 76  # RFC 2045 section 6.8

_DELIMITER = re.compile(rb"\r\n--([^\r\n]*+)(?=\r\n|\Z)")
_BLANK_OR_DELIMITER = re.compile(rb"\r\n(?:(?=\r\n)|--([^\r\n]*+)(?=\r\n|\Z))")
_BINARY = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n|\n[^\r\n]{999}")  # a long line is tried once
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_FIELD = re.compile(
    rb"(?im)^(content-type|content-transfer-encoding|mime-version|dkim-signature)[ \t]*:"
    rb"((?:[^\r]++|\r\n(?=[ \t]))*+)"
)

_IDENTITY = (b"7bit", b"8bit", b"binary")
_ASCII = bytes(range(128))
_IGNORED = _ASCII + b"?" * 128


class Needs(NamedTuple):
    """``eight_bit``: there are octets outside ASCII, which need 8BITMIME. ``utf8_header``: there are some in
    the header, which needs SMTPUTF8."""

    eight_bit: bool
    utf8_header: bool


def needs(chunks: Iterable[bytes]) -> Needs:
    """What a message needs. Reads up to the first octet outside ASCII after the header, or to the end."""
    tail: bytes | None = b"\r\n"  # of the header, None after it
    for chunk in chunks:
        if tail is None:
            if not chunk.isascii():
                return Needs(True, False)
            continue
        data = tail + chunk
        end = data.find(b"\r\n\r\n")
        if not data.isascii():
            return Needs(True, not (data if end < 0 else data[:end]).isascii())
        tail = data[-3:] if end < 0 else None
    return Needs(False, False)


def to_seven_bit(chunks: Iterable[bytes], limit: int, *, binary: bool = False) -> bytes | None:
    """The message in 7-bit form, or None if that is impossible or the message has more than ``limit`` octets.

    ``binary``: the sender said BODY=BINARYMIME (RFC 3030), so NULs, bare line ends and long lines are not
    7-bit either.

    Takes a multiple of the size of the message in memory, and about 0.1 s for 10 MiB: call it in a thread.
    """
    content = BytesIO()
    content.write(b"\r\n")  # so that each line has a CRLF before it
    for chunk in chunks:
        content.write(chunk)
        if content.tell() > limit + 2:
            return None
    data = content.getvalue()
    try:
        return data[2:] if data.isascii() and not binary else _Conversion(data, binary).run()
    except _Impossible:
        return None


class _Impossible(Exception):
    """The message cannot be converted."""


class _Delimiter(NamedTuple):
    """A line between parts, without the CRLF at its end. The end of the message is one without a boundary."""

    start: int
    end: int
    boundary: bytes | None
    closes: bool


class _Conversion:
    """Reads a message once, from front to end. Positions of lines are those of the CRLF in front of them."""

    def __init__(self, data: bytes, binary: bool) -> None:
        self._data = data
        self._binary = binary
        self._out = BytesIO()
        self._at = 2  # everything before it is written
        self._open: set[bytes] = set()  # the boundaries of the multiparts around this position
        self._parts = 0

    def run(self) -> bytes:
        self._entity(0, b"text/plain", 0, is_message=True)
        self._copy(len(self._data))
        return self._out.getvalue()

    def _entity(self, at: int, default: bytes, depth: int, *, is_message: bool = False) -> _Delimiter:
        """Convert one part, whose first line is at ``at``. Returns the delimiter behind it."""
        self._parts += 1
        blank = self._blank(at)
        if isinstance(blank, _Delimiter):  # a header without a body
            self._require_ascii(at + 2, blank.start)
            return blank
        header = self._data[at + 2 : blank + 2]
        if not self._is_plain(header):
            raise _Impossible
        fields = _Fields.read(header, default)
        if fields is None or fields.is_opaque or depth > MAX_DEPTH or self._parts > MAX_PARTS:
            return self._opaque(blank + 2)
        if fields.main_type == b"multipart":
            if fields.boundary is None:
                return self._opaque(blank + 2)
            if fields.boundary in self._open:  # that of a multipart around it
                raise _Impossible
            self._label(at, fields, b"7bit")
            return self._multipart(blank + 2, fields.boundary, fields.type, depth)
        if fields.type == b"message/rfc822":
            self._label(at, fields, b"7bit")
            return self._entity(blank + 2, b"text/plain", depth + 1, is_message=True)
        if fields.main_type == b"message" and not fields.type.startswith(b"message/global"):
            return self._opaque(blank + 2)  # RFC 2046 section 5.2: always 7-bit
        return self._leaf(at, blank + 2, fields, is_message)

    def _multipart(self, at: int, boundary: bytes, kind: bytes, depth: int) -> _Delimiter:
        self._open.add(boundary)
        found = self._find(at)
        if found.boundary != boundary:
            self._require_ascii(at + 2, found.start)
        self._mask(at + 2, found.start)
        default = b"message/rfc822" if kind == b"multipart/digest" else b"text/plain"
        while found.boundary == boundary and not found.closes:
            found = self._entity(found.end, default, depth + 1)
        self._open.discard(boundary)
        if found.boundary == boundary:
            start = found.end
            found = self._find(start)
            self._mask(start, found.start)
        return found

    def _opaque(self, at: int) -> _Delimiter:
        found = self._find(at)
        self._require_ascii(at + 2, found.start)
        return found

    def _leaf(self, at: int, body_at: int, fields: "_Fields", is_message: bool) -> _Delimiter:
        found = self._find(body_at)
        body = self._data[body_at + 2 : found.start]
        if self._is_plain(body):
            self._label(at, fields, b"7bit")
            return found
        encoding, encoded = _encoded(body, fields.main_type == b"text")
        self._label(at, fields, encoding, _added(fields, is_message))
        self._copy(body_at + 2)
        self._out.write(encoded)
        if encoding == b"base64" and found.start == len(self._data):
            self._out.write(b"\r\n")
        self._at = found.start
        return found

    # ------------------------------------------------------------ reading

    def _blank(self, at: int) -> int | _Delimiter:
        """The blank line after a header, or a delimiter before it."""
        for match in _BLANK_OR_DELIMITER.finditer(self._data, at):
            if match[1] is None:
                return match.start()
            if found := self._delimiter(match):
                return found
        return self._end()

    def _find(self, at: int) -> _Delimiter:
        if self._open:
            for match in _DELIMITER.finditer(self._data, at):
                if found := self._delimiter(match):
                    return found
        return self._end()

    def _delimiter(self, match: re.Match[bytes]) -> _Delimiter | None:
        line = match[1].rstrip(b" \t")
        if line in self._open:
            return _Delimiter(match.start(), match.end(), line, False)
        if line.endswith(b"--") and line[:-2] in self._open:
            return _Delimiter(match.start(), match.end(), line[:-2], True)
        return None

    def _end(self) -> _Delimiter:
        end = len(self._data)
        # The last line end of a multipart that is not closed belongs to the missing delimiter.
        start = end - 2 if self._open and self._data.endswith(b"\r\n") else end
        return _Delimiter(start, end, None, False)

    def _require_ascii(self, start: int, end: int) -> None:
        if not self._is_plain(self._data[start:end]):
            raise _Impossible

    def _is_plain(self, text: bytes) -> bool:
        """Whether the text is 7-bit (RFC 2045 section 2.7)."""
        return text.isascii() and not (self._binary and _BINARY.search(b"\r\n" + text))

    # ------------------------------------------------------------ writing

    def _copy(self, end: int) -> None:
        if end > self._at:
            self._out.write(self._data[self._at : end])
            self._at = end

    def _label(self, at: int, fields: "_Fields", encoding: bytes, added: bytes = b"") -> None:
        """Write a header with this Content-Transfer-Encoding; "7bit" is the default and never added."""
        header = fields.header
        if fields.encoding is not None:
            if fields.encoding == encoding:
                return
            start, end = fields.encoding_at
            header = header[:start] + b" " + encoding + header[end:]
        elif encoding != b"7bit":
            added += b"Content-Transfer-Encoding: " + encoding + b"\r\n"
        else:
            return
        self._copy(at + 2)
        self._out.write(header + added)
        self._at += len(fields.header)

    def _mask(self, start: int, end: int) -> None:
        text = self._data[start:end]
        if not self._is_plain(text):
            self._copy(start)
            text = text.translate(_IGNORED)
            self._out.write(_LONE.sub(b"?", text) if self._binary else text)
            self._at = end


@attrs.frozen
class _Fields:
    """The fields of a header that matter. ``encoding`` is None without a field; its value is at
    ``encoding_at``."""

    header: bytes = attrs.field(repr=False)
    type: bytes
    has_type: bool
    boundary: bytes | None
    encoding: bytes | None
    encoding_at: tuple[int, int]
    has_version: bool
    is_signed: bool

    @property
    def main_type(self) -> bytes:
        return self.type.partition(b"/")[0]

    @property
    def is_opaque(self) -> bool:
        encoded = self.encoding is not None and self.encoding not in _IDENTITY
        return encoded or self.is_signed or self.type == b"multipart/signed"

    @classmethod
    def read(cls, header: bytes, default: bytes) -> "_Fields | None":
        """None if the header is ambiguous."""
        if header and (_LONE.search(header) or not other_fields(frozenset()).fullmatch(header)):
            return None
        found: dict[bytes, re.Match[bytes]] = {}
        for match in _FIELD.finditer(header):
            name = match[1].lower()
            if name in found and name.startswith(b"content-"):
                return None
            found[name] = match
        kind, boundary = default, None
        if type_field := found.get(b"content-type"):
            read = content_type(field_value(type_field[2]))
            if read is None:
                return None
            kind, boundary = read
        encoding = found.get(b"content-transfer-encoding")
        return cls(
            header=header,
            type=kind,
            has_type=type_field is not None,
            boundary=boundary,
            encoding=None if encoding is None else field_value(encoding[2]).lower(),
            encoding_at=(0, 0) if encoding is None else encoding.span(2),
            has_version=b"mime-version" in found,
            is_signed=b"dkim-signature" in found,
        )


def _added(fields: _Fields, is_message: bool) -> bytes:
    """The fields that a part lacks, once it has a transfer encoding (RFC 1428 for the character set)."""
    version = b"" if fields.has_version or not is_message else b"MIME-Version: 1.0\r\n"
    return version + (b"" if fields.has_type else b"Content-Type: text/plain; charset=unknown-8bit\r\n")


def _encoded(body: bytes, is_text: bool) -> tuple[bytes, bytes]:
    """The name of the better transfer encoding, and the body in it."""
    others = len(body.translate(None, _ASCII))
    # Beyond a fifth, quoted-printable is longer than base64, and no easier to read.
    if is_text and others * 5 < len(body) and not _LONE.search(body):
        quoted = b2a_qp(body, istext=True)
        # Without a CRLF in the body, its soft line breaks are bare.
        return b"quoted-printable", quoted if b"\r\n" in body else quoted.replace(b"\n", b"\r\n")
    encoded = b2a_base64(body, newline=False)
    return b"base64", b"\r\n".join(encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE))
