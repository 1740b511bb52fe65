"""Makes the surrogate of a message with UTF-8 in its header, for a client that cannot read it (RFC 6858).

The header fields of the message, of its parts and of attached messages are converted; see
``surrogate_fields``. Bodies stay as they are, octet by octet. So do fields with octets that are not UTF-8:
they do not follow RFC 6532, and clients may know their character set. The signatures of a surrogate are
invalid, which RFC 6858 section 5 accepts.

The message comes in pieces of any size. Their boundaries make no difference. Memory and time are bounded: in
a field that is too long to be held, or that exceeds what is left of :data:`MAX_CONVERTED`, and in all fields
when nothing is left, the octets outside ASCII become question marks. In a field with addresses they become
control characters instead: with question marks, an address could become the address of somebody else.
"""

import re
from collections.abc import Iterable, Iterator

from mailserver.mail.content_type import MAX_VALUE, content_type, field_value
from mailserver.mail.surrogate_fields import ADDRESS_FIELDS, in_ascii

MAX_HELD = 64 * 1024  # octets of a field
MAX_CONVERTED = 16 * 1024  # octets of fields that are converted, which takes much more time than the rest
EXTRA = 64  # octets that each of them counts in addition
MAX_DEPTH = 50  # containers in each other; deeper parts stay as they are
MAX_PARTS = 20_000  # further ones stay as they are
MAX_DELIMITERS = 100_000  # lines that begin like a delimiter; what follows stays as it is

_LONGEST = 200  # octets in the delimiter of a multipart; RFC 2046 section 5.1.1 allows 74
_DELIMITER = re.compile(rb"(?m)^--([^\r\n]{1,%d})\r?\n" % _LONGEST)
_BLANK_OR_DELIMITER = re.compile(rb"(?m)^(?:--([^\r\n]{1,%d}))?\r?\n" % _LONGEST)
_FIELD = re.compile(rb"[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z)")
_NEXT_FIELD = re.compile(rb"\n(?=[^ \t])")
_MIME_FIELD = re.compile(
    rb"(?im)^content-(type|transfer-encoding)[ \t]*:((?:[^\r\n]++|\r(?!\n)|\r?\n(?=[ \t]))*+)"
)
_ADDRESSES = re.compile(rb"(?i)(?:%b)[ \t]*:" % b"|".join(ADDRESS_FIELDS))
_TEXT = b"text/plain"
_MESSAGES = (b"message/rfc822", b"message/global")
_IDENTITY = (b"7bit", b"8bit", b"binary")
_MASK = bytes(range(128)) + b"?" * 128
_ADDRESS_MASK = bytes(range(128)) + b"\x7f" * 128


class Surrogate:
    """Converts one message.

    ``changed``: the surrogate differs from the message so far. ``done``: the rest of the message stays as it
    is.
    """

    __slots__ = (
        "_at_line_start",
        "_boundaries",
        "_candidates",
        "_default",
        "_delimiters",
        "_depth",
        "_held",
        "_in_header",
        "_is_digest",
        "_left",
        "_mime",
        "_overlong",
        "_parts",
        "_pending",
        "_pending_octets",
        "changed",
        "done",
    )

    def __init__(self) -> None:
        self.changed = self.done = False
        self._held = b""
        self._pending: list[bytes] = []
        self._pending_octets = 0
        self._in_header = True
        self._at_line_start = True
        self._overlong: bytes | None = None  # the mask of the current field, which is too long to be held
        self._left = MAX_CONVERTED  # octets that may still be converted
        self._depth = self._parts = self._candidates = 0
        self._boundaries: list[bytes] = []  # of the open multiparts, the innermost last
        self._is_digest: list[bool] = []
        self._delimiters: frozenset[bytes] = frozenset()  # with the boundaries, without the first dashes
        self._default = _TEXT  # the type of a part without Content-Type
        self._mime: dict[bytes, bytes] = {}  # fields of the current header

    def feed(self, data: bytes) -> bytes:
        """Convert the next octets."""
        if self.done:
            return data
        self._pending.append(data)
        self._pending_octets += len(data)
        if self._pending_octets < len(self._held):
            return b""  # looking at the held octets again for each small piece would take quadratic time
        return self._convert(at_end=False)

    def finish(self) -> bytes:
        """The message has ended. Returns the last octets."""
        held = self._convert(at_end=True)
        return held + self._held

    def pieces(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Convert a whole message."""
        for chunk in chunks:
            yield self.feed(chunk)
        yield self.finish()

    def _convert(self, *, at_end: bool) -> bytes:
        data = b"".join((self._held, *self._pending))
        self._held = b""
        self._pending.clear()
        self._pending_octets = 0
        out: list[bytes] = []
        at = 0
        while at < len(data) and not self.done:
            at = self._header(data, at, out, at_end) if self._in_header else self._body(data, at, out)
        out.append(data[at:])
        return b"".join(out)

    # ------------------------------------------------------------ structure

    # The following methods convert a part of the data, from a position on. They return the position after it.

    def _header(self, data: bytes, at: int, out: list[bytes], at_end: bool) -> int:
        """From the beginning of a line of a header."""
        if self._overlong is not None:
            return self._rest_of_field(data, at, out, self._overlong)
        for match in _BLANK_OR_DELIMITER.finditer(data, at):
            if match[1] is None or self._is_delimiter(match[1]):
                self._fields(data[at : match.start()], out)
                out.append(match[0])
                if match[1] is None:
                    self._enter_body()
                else:
                    self._leave_parts(match[1])
                return match.end()
        left = len(data) - at
        if at_end:
            self._fields(data[at:], out)
        elif left <= MAX_HELD:
            self._held = data[at:]
        else:
            cut = _last_field(data, at)
            self._fields(data[at:cut], out)
            if len(data) - cut > MAX_HELD:
                self._overlong = _mask_of(data[cut : cut + EXTRA])
                return cut
            self._held = data[cut:]
        return len(data)

    def _rest_of_field(self, data: bytes, at: int, out: list[bytes], mask: bytes) -> int:
        match = _NEXT_FIELD.search(data, at)
        if match is None:
            # The octet after the line end decides.
            end = len(data) - data.endswith(b"\n")
            self._held = data[end:]
        else:
            self._overlong, end = None, match.end()
        out.append(self._mask(data[at:end], mask))
        return len(data) if match is None else end

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
                self._delimiters |= {boundary, boundary + b"--"}
                self._is_digest.append(kind == b"multipart/digest")
            elif kind in _MESSAGES and encoding in _IDENTITY:
                self._depth += 1
                self._in_header = True
        self.done = not (self._in_header or self._boundaries)

    def _body(self, data: bytes, at: int, out: list[bytes]) -> int:
        start = at
        if not self._at_line_start:
            start = data.find(b"\n", at) + 1
            if not start:
                out.append(data[at:])
                return len(data)
        # The search for these two octets is much faster than the regular expression.
        has_candidates = data.startswith(b"--", start) or data.find(b"\n--", start) >= 0
        for match in _DELIMITER.finditer(data, start) if has_candidates else ():
            if self._is_delimiter(match[1]):
                self._leave_parts(match[1])
                out.append(data[at : match.end()])
                return match.end()
            self._candidates += 1
            if self._candidates == MAX_DELIMITERS:
                self.done = True
                return at
        last = max(data.rfind(b"\n") + 1, start)
        line = data[last:]
        self._at_line_start = len(line) <= _LONGEST + 3 and b"--".startswith(line[:2])
        if self._at_line_start:
            self._held = line
        out.append(data[at:last] if self._at_line_start else data[at:])
        return len(data)

    def _is_delimiter(self, line: bytes) -> bool:
        """Whether a line, without its first dashes, is a delimiter of an open multipart."""
        line = line.rstrip(b" \t")
        return line in self._delimiters

    def _leave_parts(self, delimiter: bytes) -> None:
        """Go on after a delimiter."""
        line = delimiter.rstrip(b" \t")
        closes = line not in self._boundaries
        kept = self._boundaries.index(line[:-2] if closes else line) + (not closes)
        if kept < len(self._boundaries):
            del self._boundaries[kept:], self._is_digest[kept:]
            self._delimiters = frozenset(one + end for one in self._boundaries for end in (b"", b"--"))
        self._depth = kept
        self._in_header = not closes
        self._at_line_start = True
        self._mime = {}
        self._default = _MESSAGES[0] if kept and self._is_digest[-1] else _TEXT
        self._parts += 1
        self.done = (closes and not kept) or self._parts == MAX_PARTS

    # ------------------------------------------------------------ fields

    def _fields(self, block: bytes, out: list[bytes]) -> None:
        """Convert whole fields."""
        if not block:
            return
        for match in _MIME_FIELD.finditer(block):
            if len(match[2]) <= MAX_VALUE:
                self._mime.setdefault(match[1].lower(), match[2])
        if block.isascii():
            out.append(block)
        else:
            out += [field if field.isascii() else self._field(field) for field in _FIELD.findall(block)]

    def _mask(self, text: bytes, mask: bytes) -> bytes:
        masked = text.translate(mask)
        self.changed |= masked != text
        return masked

    def _field(self, field: bytes) -> bytes:
        if len(field) > MAX_HELD or self._left <= EXTRA:
            return self._mask(field, _mask_of(field))
        try:
            field.decode()
        except UnicodeDecodeError:
            return field
        if len(field) + EXTRA > self._left:
            return self._mask(field, _mask_of(field))
        self.changed = True
        self._left -= len(field) + EXTRA
        name, _, value = field.partition(b":")
        if not name.isascii():
            return b""
        converted = in_ascii(name.strip(b" \t").lower(), value)
        return b"" if converted is None else name + b": " + converted + b"\r\n"


def _mask_of(field: bytes) -> bytes:
    return _ADDRESS_MASK if _ADDRESSES.match(field) else _MASK


def _last_field(data: bytes, at: int) -> int:
    """The position of the last line from ``at`` on that begins a field."""
    end = len(data) - 1  # the octet after a line end must be known
    while (cut := data.rfind(b"\n", at, end) + 1) and data[cut : cut + 1] in b" \t":
        end = cut - 1
    return cut or at


def needs_surrogate(chunks: Iterable[bytes]) -> bool:
    """Whether a message differs from its surrogate. Reads only as much of it as is needed to tell."""
    surrogate = Surrogate()
    for _ in surrogate.pieces(chunks):
        if surrogate.changed or surrogate.done:
            break
    return surrogate.changed
