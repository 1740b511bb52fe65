"""The fields of a message header, and what signatures cover of them (RFC 6376 sections 3.4 and 5.4.2).

simple     a field as it is
relaxed    the name in lower case, lines joined, white space as one space, none around the colon or at the end
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import attrs

from mailserver.policy.dkim.blanks import single_blanks

MAX_HEAD = 256 * 1024
"""The most octets of a header that signatures are checked for."""

_NEXT_FIELD = re.compile(rb"\r\n(?![ \t])")


@attrs.frozen
class HeadField:
    """One header field: its ``name`` in lower case, all its octets without the CRLF at its end, and its
    position in the header."""

    name: bytes
    raw: bytes
    at: int = 0

    @property
    def value(self) -> bytes:
        """The octets after the colon."""
        return self.raw.partition(b":")[2]


class MessageHead:
    """The header fields of a message, from the top. ``raw`` has the octets of each without its CRLF."""

    def __init__(self, head: bytes) -> None:
        """``head``: the header in octets. An empty line ends it."""
        self.is_too_large = len(head) > MAX_HEAD
        self.raw = [] if self.is_too_large else _split(head)
        self._by_name: dict[bytes, list[int]] = {}
        for at, raw in enumerate(self.raw):
            name = raw[: max(0, raw.find(b":"))].rstrip(b" \t").lower()
            if name:
                self._by_name.setdefault(name, []).append(at)
        self._relaxed: dict[int, bytes] = {}

    def named(self, name: bytes) -> tuple[HeadField, ...]:
        """The fields with this name, which is in lower case, from the top."""
        return tuple([HeadField(name, self.raw[at], at) for at in self._by_name.get(name, ())])

    def relaxed(self, at: int) -> bytes:
        """The relaxed form of the field with this position, without CRLF. It is computed once."""
        found = self._relaxed.get(at)
        if found is None:
            found = self._relaxed[at] = relaxed_field(self.raw[at])
        return found

    def covered(self, names: Iterable[bytes], relaxed: bool, *, without: HeadField | None = None) -> bytes:
        """The canonical form of the fields that a signature names, each with its CRLF.

        A name that stands n times means the last n fields of that name, from the bottom. Names without a
        field mean nothing. The field ``without`` is not among them: it is the signature.
        """
        left: dict[bytes, list[int]] = {}  # the places of the fields that no name has meant so far
        lines: list[bytes] = []
        for name in names:
            places = left.get(name)
            if places is None:
                places = left[name] = list(self._by_name.get(name, ()))
                if without is not None and name == without.name:
                    places.remove(without.at)
            if places:
                at = places.pop()
                lines += (self.relaxed(at) if relaxed else self.raw[at], b"\r\n")
        return b"".join(lines)


@lru_cache(8)
def message_head(head: bytes) -> MessageHead:
    """The fields of a header, which several checks read one after the other."""
    return MessageHead(head)


def relaxed_field(raw: bytes) -> bytes:
    """The relaxed form of a field, without CRLF."""
    name, colon, value = raw.partition(b":")
    text = single_blanks(value.replace(b"\r\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + colon + text


def _split(head: bytes) -> list[bytes]:
    if head.startswith(b"\r\n"):
        return []
    lines = head.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n")
    return _NEXT_FIELD.split(lines) if lines else []
