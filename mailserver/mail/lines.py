"""Processes many lines of a header at once, because a message may have millions of them.

field    = field-name *WSP ":" *octet CRLF      ; names as in RFC 5322 section 4.5
folded   = WSP *octet CRLF                      ; the continuation of a field
"""

import re
from functools import cache

# Longer names are no fields. This also limits the octets that are held back.
NAME = rb"[!-9;-~]{1,255}[ \t]{0,255}"
# Possessive, because there is only one way to match: a line ends with its first CRLF.
_BODY = rb"(?:[^\r]++|\r(?!\n))*+"
_REST = _BODY + rb"\r\n"


@cache
def other_fields(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Matches whole fields with their continuations, except those with these names, in lower case."""
    watched = b"|".join(sorted(map(re.escape, names)))
    unless = rb"(?!(?i:%b)[ \t]{0,255}:)" % watched if names else b""
    return re.compile(rb"(?:(?:[ \t]|%b%b:)%b)++" % (unless, NAME, _REST))


def without_fields(lines: bytes, names: frozenset[bytes], keeping: bool) -> tuple[bytes, bool]:
    """Remove the fields with these ``names`` (in lower case, at least one) from whole ``lines`` of a header.

    ``keeping``: whether the field is kept that the first lines may continue. The second result is the same
    for the last field of ``lines``.
    """
    lowered = lines.lower() if keeping else b""
    if keeping and not any(name in lowered for name in names):
        return lines, True
    # A removed field takes its continuations with it. So continuations at the beginning get a field name, and
    # an added continuation at the end shows whether the last field was removed.
    before = b"" if keeping else b"\r\n" + next(iter(names)) + b":"
    kept = _removed(names).sub(b"", before + b"\r\n" + lines[:-2] + b"\r\n\t")
    if kept.endswith(b"\r\n\t"):
        return kept[2:-1], True
    return kept[2:] + b"\r\n" if kept else b"", False


@cache
def _removed(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Matches the fields with these names, each with the CRLF in front of it instead of its own."""
    any_name = b"|".join(sorted(map(re.escape, names)))
    return re.compile(rb"(?:\r\n(?i:%b)[ \t]{0,255}:%b(?:\r\n[ \t]%b)*+)++" % (any_name, _BODY, _BODY))
