"""Converts header fields in UTF-8 to ASCII (RFC 6858 section 2).

addresses        an address outside ASCII becomes an invalid one, with the text in its display name
MIME parameters  those outside ASCII are dropped
Subject          becomes encoded words (RFC 2047), as display names do
other fields     are dropped, as are fields of the above kinds that do not follow their syntax
"""

import re
from binascii import b2a_base64

from mailserver.errors import AddressError
from mailserver.mail.address_list import TOKEN, after_comment

INVALID_ADDRESS = "<invalid@internationalized-address.invalid>"

ADDRESS_FIELDS = frozenset(
    b"bcc cc from reply-to resent-bcc resent-cc resent-from resent-sender resent-to sender to".split()
)
_WITH_PARAMETERS = frozenset((b"content-type", b"content-disposition"))
_WORD = 39  # octets in an encoded word, which then fits behind the name of the field (RFC 2047 section 2)

_ANGLED = re.compile(r'(?:[^<>"]|"(?:[^"\\]|\\.)*+")*+>', re.DOTALL)
_PARAMETER = re.compile(rb';(?:[^;"\\]|\\.?|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_FOLD = re.compile(r"\r?\n")


def in_ascii(name: bytes, value: bytes) -> bytes | None:
    """The value of a field in ASCII, without its last line end; None if the field must be dropped.

    ``value`` is valid UTF-8. ``name`` is in lower case.
    """
    if name in _WITH_PARAMETERS:
        return _without_parameters(value.strip())
    text = value.decode().strip()
    if name == b"subject":
        return encoded_words(text).encode()
    if name == b"return-path":
        return INVALID_ADDRESS.encode()
    if name not in ADDRESS_FIELDS:
        return None
    try:
        return _List(text).converted().encode()
    except AddressError:
        return None


def encoded_words(text: str) -> str:
    """A text as encoded words, one on each line (RFC 2047 section 4.1)."""
    words: list[str] = []
    part: list[str] = []
    octets = 0
    for char in _FOLD.sub("", text):
        length = len(char.encode())
        if octets + length > _WORD:
            words.append("".join(part))
            part, octets = [], 0
        part.append(char)
        octets += length
    words.append("".join(part))
    return "\r\n ".join(
        [f"=?utf-8?b?{b2a_base64(word.encode(), newline=False).decode()}?=" for word in words]
    )


def _without_parameters(value: bytes) -> bytes | None:
    first, semicolon, rest = value.partition(b";")
    if not first.isascii():
        return None
    kept = [each.rstrip() for each in _PARAMETER.findall(semicolon + rest) if each.isascii()]
    return first.rstrip() + b"".join(kept)


class _List:
    """Reads an address list (see ``address_list``) and writes it in ASCII. An address in ASCII without a
    display name outside ASCII stays as it is."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._out: list[str] = []
        self._start = 0  # of the current address

    def _begin(self, at: int) -> None:
        self._start = at
        self._words: list[str] = []
        self._comments: list[str] = []
        self._angled: str | None = None
        self._name_end = at  # of a display name before an angle bracket

    def converted(self) -> str:
        """The list in ASCII. Raises :class:`AddressError` if it does not follow its syntax."""
        field, at = self._field, 0
        self._begin(0)
        while at < len(field):
            token = TOKEN.match(field, at)
            assert token is not None
            before, at = at, token.end()
            match token[0]:
                case "(":
                    at = after_comment(field, at)
                    self._comments.append(field[before + 1 : at - 1])
                case "<":
                    angled = _ANGLED.match(field, at)
                    if angled is None or self._angled is not None:
                        raise AddressError("misplaced angle bracket")
                    self._angled, at = angled[0][:-1], angled.end()
                    self._name_end = before
                case ":":
                    self._out.append(f"{self._group_name(before)}:")
                    self._begin(at)
                case "," | ";" as end:
                    if (address := self._address(before)) or end == ";":
                        self._out.append(f"{address}{end}")
                    self._begin(at)
                case ")" | ">":
                    raise AddressError("misplaced bracket")
                case word if token.lastgroup == "quoted":
                    self._words.append(_QUOTED_PAIR.sub(r"\1", word[1:-1]))
                case word:
                    self._words.append(" " if token.lastgroup == "space" else word)
        self._out.append(self._address(at))
        return "\r\n ".join([each for each in self._out if each])

    def _group_name(self, end: int) -> str:
        raw = self._field[self._start : end].strip()
        return raw if raw.isascii() else encoded_words("".join(self._words).strip())

    def _address(self, end: int) -> str:
        """The address that ends there."""
        raw = self._field[self._start : end].strip()
        if raw.isascii():
            return raw
        words = "".join(self._words).strip()
        if self._angled is None:
            name, address = "", words
        else:
            name, address = words, self._angled.strip()
        if not address:
            return ""
        name = name or " ".join(self._comments)
        if address.isascii():
            return f"{encoded_words(name)}\r\n <{address}>"
        written = self._field[self._start : self._name_end].strip()
        if written and written.isascii():  # it may have encoded words
            return f"{written}\r\n {encoded_words(address)}\r\n {INVALID_ADDRESS}"
        return f"{encoded_words(f'{name} {address}'.strip())}\r\n {INVALID_ADDRESS}"
