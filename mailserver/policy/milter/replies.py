"""The packets that a filter sends, as values.

The replies are, by their command octet:

    c continue       a accept         r reject           t defer          d drop
    y reply text     s no more body   p still working    4 end the session, f as well
    h add a field    i insert a field m change a field   q quarantine

This server does not offer + and 2 (add a recipient), - (remove one), e (change the reverse-path), b (change
the body) and l (choose macros).
"""

import re
import struct
from enum import Enum

import attrs

from mailserver.errors import FilterFailed

_INDEX = struct.Struct(">I")
_NAME = re.compile(rb"[!-9;-~]{1,255}")
# One or more lines: code, enhanced code, text (RFC 5321 section 4.2, RFC 3463).
_REPLY_LINE = re.compile(rb"([45][0-9]{2})(?:[ -](?:([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:[ ]+|\Z))?(.*))?")
_UNPRINTABLE = re.compile(r"[^ -~]+")
MAX_TEXT = 450  # characters of a line of a reply, which has at most 512 octets
MAX_LINES = 32  # of a reply, as in libmilter


class FilterAnswer(Enum):
    """A reply without data."""

    CONTINUE = b"c"
    ACCEPT = b"a"
    REJECT = b"r"
    DEFER = b"t"
    DISCARD = b"d"
    SKIP = b"s"
    PROGRESS = b"p"
    SHUT_DOWN = b"4"
    FAIL_CONNECTION = b"f"


@attrs.frozen
class FilterReplyText:
    """Reject or defer, with the reply to the client. ``subject`` and ``detail`` are of RFC 3463. ``text`` may
    have several lines."""

    code: int
    subject: int
    detail: int
    text: str

    @property
    def permanent(self) -> bool:
        """Whether it rejects."""
        return self.code >= 500


@attrs.frozen
class AddField:
    """Add a header field after the last one."""

    name: bytes
    value: bytes


@attrs.frozen
class InsertField:
    """Insert a header field, so that ``index`` fields are above it."""

    index: int
    name: bytes
    value: bytes


@attrs.frozen
class ChangeField:
    """Change the field of this name with the number ``index``, from 1. An empty value removes it."""

    index: int
    name: bytes
    value: bytes


@attrs.frozen
class KeepAside:
    """Put the message into the quarantine."""

    reason: str


FieldChange = AddField | InsertField | ChangeField
FilterReply = FilterAnswer | FilterReplyText | FieldChange | KeepAside

_ANSWERS = {answer.value: answer for answer in FilterAnswer}
_NOT_OFFERED = {
    b"+": "add a recipient",
    b"2": "add a recipient",
    b"-": "remove a recipient",
    b"b": "change the body",
    b"e": "change the reverse-path",
    b"l": "choose macros",
}


def read_reply(command: bytes, data: bytes) -> FilterReply:
    """Read a packet. Raises :class:`~mailserver.errors.FilterFailed` if it is invalid or was not offered."""
    if answer := _ANSWERS.get(command):
        if data:
            raise FilterFailed(f"the reply {command!r} has {len(data)} octets of data; allowed: none")
        return answer
    match command:
        case b"y":
            return _reply_text(data)
        case b"h":
            return AddField(*_field(data))
        case b"i":
            return InsertField(*_indexed(data))
        case b"q":
            return KeepAside(_text(data.removesuffix(b"\0")) or "no reason given")
        case b"m":
            index, name, value = _indexed(data)
            # 0 means 1, as in Sendmail and Postfix.
            return ChangeField(index or 1, name, value)
    if wish := _NOT_OFFERED.get(command):
        raise FilterFailed(f"the filter wants to {wish}, which this server does not offer")
    raise FilterFailed(f"unknown reply {command!r}")


def _indexed(data: bytes) -> tuple[int, bytes, bytes]:
    if len(data) < _INDEX.size:
        raise FilterFailed("a change of the header has no index")
    return (*_INDEX.unpack_from(data), *_field(data[_INDEX.size :]))


def _field(data: bytes) -> tuple[bytes, bytes]:
    parts = data.split(b"\0")
    if len(parts) != 3 or parts[2]:
        raise FilterFailed("a change of the header does not have a name and a value")
    if not _NAME.fullmatch(parts[0]):
        raise FilterFailed(f"invalid name of a header field: {parts[0][:64]!r}")
    return parts[0], parts[1]


def _reply_text(data: bytes) -> FilterReplyText:
    lines = data.removesuffix(b"\0").rstrip(b"\r\n").split(b"\n")
    found = [_REPLY_LINE.fullmatch(line.rstrip(b"\r")) for line in lines]
    first = found[0]
    codes = {line[1] for line in found if line}
    # The enhanced code, if there is one, has the class of the code.
    if first is None or None in found or len(codes) != 1 or first[2] not in (None, first[1][:1]):
        raise FilterFailed(f"invalid reply text: {data[:64]!r}")
    # Sendmail takes the text as a format, so filters write %% for %.
    texts = [_text((line[5] or b"").replace(b"%%", b"%")) for line in found[:MAX_LINES] if line]
    subject, detail = (int(first[3]), int(first[4])) if first[2] else (7, 1)
    text = "\n".join(texts).strip("\n")
    return FilterReplyText(_code(first[1]), subject, detail, text or "rejected by a mail filter")


def _code(digits: bytes) -> int:
    """The code. SMTP has no codes such as 590, which libmilter lets pass."""
    return int(digits) if digits[1:2] <= b"5" else {b"4": 451, b"5": 550}[digits[:1]]


def _text(octets: bytes) -> str:
    """One printable line of ASCII."""
    return _UNPRINTABLE.sub("?", octets.decode("utf-8", "replace")).strip()[:MAX_TEXT]
