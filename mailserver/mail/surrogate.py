"""Makes the surrogate of a message with UTF-8 in its header, for a client that cannot read it (RFC 6858).

The header fields of the message, of its parts and of attached messages are converted; see
``surrogate_fields``. Bodies stay as they are, octet by octet. So do fields with octets that are not UTF-8:
they do not follow RFC 6532, and clients may know their character set. The signatures of a surrogate are
invalid, which RFC 6858 section 5 accepts.

The message comes in pieces of any size. Their boundaries make no difference, and the memory is bounded.
"""

import re
from collections.abc import Iterable, Iterator

from mailserver.mail.content_type import content_type, field_value
from mailserver.mail.surrogate_fields import in_ascii

MAX_HELD = 64 * 1024  # octets of a field; in a longer one, octets outside ASCII become question marks
MAX_CONVERTED = 1000  # fields; all further ones are dropped, which is much less work
MAX_DEPTH = 50  # containers in each other; deeper parts stay as they are

_LONGEST = 200  # octets in the delimiter of a multipart; RFC 2046 section 5.1.1 allows 74
_DELIMITER = re.compile(rb"(?m)^--([^\r\n]{1,%d})\r?\n" % _LONGEST)
_BLANK_OR_DELIMITER = re.compile(rb"(?m)^(?:--([^\r\n]{1,%d}))?\r?\n" % _LONGEST)
_FIELD = re.compile(rb"[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z)")
_NEXT_FIELD = re.compile(rb"\n(?=[^ \t])")
_MIME_FIELD = re.compile(
    rb"(?im)^content-(type|transfer-encoding)[ \t]*:((?:[^\r\n]++|\r(?!\n)|\r?\n(?=[ \t]))*+)"
)
_TEXT = b"text/plain"
_MESSAGES = (b"message/rfc822", b"message/global")
_IDENTITY = (b"7bit", b"8bit", b"binary")
_MASKED = bytes(range(128)) + b"?" * 128


class Surrogate:
    """Converts one message.

    ``changed``: the surrogate differs from the message so far. ``done``: the rest of the message stays as it
    is.
    """

    __slots__ = (
        "_at_line_start",
        "_boundaries",
        "_converted",
        "_default",
        "_depth",
        "_held",
        "_in_header",
        "_is_digest",
        "_mime",
        "_overlong",
        "changed",
        "done",
    )

    def __init__(self) -> None:
        self.changed = self.done = False
        self._held = b""
        self._in_header = True
        self._at_line_start = True
        self._overlong = False  # the current field is too long to be held
        self._converted = 0  # fields
        self._depth = 0
        self._boundaries: list[bytes] = []  # of the open multiparts, the innermost last
        self._is_digest: list[bool] = []
        self._default = _TEXT  # the type of a part without Content-Type
        self._mime: dict[bytes, bytes] = {}  # fields of the current header

    def feed(self, data: bytes) -> bytes:
        """Convert the next octets."""
        if self.done:
            return data
        return self._convert(data, at_end=False)

    def finish(self) -> bytes:
        """The message has ended. Returns the last octets."""
        held = self._convert(b"", at_end=True)
        return held + self._held

    def pieces(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Convert a whole message."""
        for chunk in chunks:
            yield self.feed(chunk)
        yield self.finish()

    def _convert(self, data: bytes, *, at_end: bool) -> bytes:
        data, self._held = self._held + data, b""
        out: list[bytes] = []
        while data and not self.done:
            data = self._header(data, out, at_end) if self._in_header else self._body(data, out)
        return b"".join(out) + data

    # ------------------------------------------------------------ structure

    def _header(self, data: bytes, out: list[bytes], at_end: bool) -> bytes:
        """Convert a part of a header, from the beginning of a line. Returns the data after it."""
        if self._overlong:
            return self._rest_of_field(data, out)
        for match in _BLANK_OR_DELIMITER.finditer(data):
            if match[1] is None:
                self._fields(data[: match.start()], out)
                out.append(match[0])
                self._enter_body()
                return data[match.end() :]
            if self._leave_parts(match[1]):
                self._fields(data[: match.start()], out)
                out.append(match[0])
                return data[match.end() :]
        if at_end:
            self._fields(data, out)
        elif len(data) <= MAX_HELD:
            self._held = data
        else:
            cut = _last_field(data)
            self._fields(data[:cut], out)
            if len(data) - cut > MAX_HELD:
                self._overlong = True
                return data[cut:]
            self._held = data[cut:]
        return b""

    def _rest_of_field(self, data: bytes, out: list[bytes]) -> bytes:
        match = _NEXT_FIELD.search(data)
        if match is None:
            # The octet after the line end decides.
            cut = len(data) - data.endswith(b"\n")
            self._held = data[cut:]
        else:
            self._overlong, cut = False, match.end()
        masked = data[:cut].translate(_MASKED)
        self.changed |= masked != data[:cut]
        out.append(masked)
        return b"" if match is None else data[cut:]

    def _enter_body(self) -> None:
        """A header has ended."""
        mime, self._mime = self._mime, {}
        self._in_header = False
        self._at_line_start = True
        kind, boundary = self._default, None
        if b"type" in mime:
            kind, boundary = content_type(field_value(mime[b"type"])) or (_TEXT, None)
        self._default = _TEXT
        encoding = field_value(mime.get(b"transfer-encoding", b"7bit")).lower()
        if self._depth < MAX_DEPTH:
            if boundary is not None and kind.startswith(b"multipart/"):
                self._depth += 1
                self._boundaries.append(boundary)
                self._is_digest.append(kind == b"multipart/digest")
            elif kind in _MESSAGES and encoding in _IDENTITY:
                self._depth += 1
                self._in_header = True
        self.done = not (self._in_header or self._boundaries)

    def _body(self, data: bytes, out: list[bytes]) -> bytes:
        """Copy a part of a body. Returns the data after it."""
        start = 0
        if not self._at_line_start:
            start = data.find(b"\n") + 1
            if not start:
                out.append(data)
                return b""
        for match in _DELIMITER.finditer(data, start):
            if self._leave_parts(match[1]):
                self._at_line_start = True
                out.append(data[: match.end()])
                return data[match.end() :]
        last = max(data.rfind(b"\n") + 1, start)
        line = data[last:]
        self._at_line_start = len(line) <= _LONGEST + 3 and b"--".startswith(line[:2])
        if self._at_line_start:
            self._held = line
            data = data[:last]
        out.append(data)
        return b""

    def _leave_parts(self, delimiter: bytes) -> bool:
        """Go to the next part if the line is a delimiter of an open multipart."""
        line = delimiter.rstrip(b" \t")
        closes = line not in self._boundaries and line.endswith(b"--")
        boundary = line[:-2] if closes else line
        if boundary not in self._boundaries:
            return False
        kept = self._boundaries.index(boundary) + (not closes)
        del self._boundaries[kept:], self._is_digest[kept:]
        self._depth = kept
        self._in_header = not closes
        self._mime = {}
        self._default = _MESSAGES[0] if kept and self._is_digest[-1] else _TEXT
        self.done = closes and not kept
        return True

    # ------------------------------------------------------------ fields

    def _fields(self, block: bytes, out: list[bytes]) -> None:
        """Convert whole fields."""
        if not block:
            return
        for match in _MIME_FIELD.finditer(block):
            self._mime.setdefault(match[1].lower(), match[2])
        out.append(block if block.isascii() else b"".join(map(self._field, _FIELD.findall(block))))

    def _field(self, field: bytes) -> bytes:
        if field.isascii():
            return field
        try:
            field.decode()
        except UnicodeDecodeError:
            return field
        self.changed = True
        self._converted += 1
        if self._converted > MAX_CONVERTED:
            return b""
        name, _, value = field.partition(b":")
        if not name.isascii():
            return b""
        converted = in_ascii(name.strip(b" \t").lower(), value)
        return b"" if converted is None else name + b": " + converted + b"\r\n"


def _last_field(data: bytes) -> int:
    """The position of the last line that begins a field; 0 if there is none after the first line."""
    end = len(data) - 1  # the octet after a line end must be known
    while (cut := data.rfind(b"\n", 0, end) + 1) and data[cut : cut + 1] in b" \t":
        end = cut - 1
    return cut


def needs_surrogate(chunks: Iterable[bytes]) -> bool:
    """Whether a message differs from its surrogate. Reads only as much of it as is needed to tell."""
    surrogate = Surrogate()
    for _ in surrogate.pieces(chunks):
        if surrogate.changed or surrogate.done:
            break
    return surrogate.changed
