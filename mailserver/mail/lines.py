"""Many lines of a header at once: a message may have millions of them, and most need no look each.

field    = field-name *WSP ":" *octet CRLF      ; names as in RFC 5322 section 4.5
folded   = WSP *octet CRLF                      ; the continuation of a field
"""

import re
from functools import cache

# No name is that long; what begins so is no field. It bounds what is held back, too.
NAME = rb"[!-9;-~]{1,255}[ \t]{0,255}"
# Possessive, as there is but one way to match: a line ends with its first CRLF.
_REST = rb"(?:[^\r]++|\r(?!\n))*+\r\n"


@cache
def other_fields(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Matches whole fields, with their continuations, but for those with these names, in lower case."""
    watched = b"|".join(sorted(map(re.escape, names)))
    unless = rb"(?!(?i:%b)[ \t]{0,255}:)" % watched if names else b""
    return re.compile(rb"(?:(?:[ \t]|%b%b:)%b)++" % (unless, NAME, _REST))


@cache
def these_fields(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Matches whole fields with these names, in lower case, and continuations."""
    watched = b"|".join(sorted(map(re.escape, names)))
    field = rb"|(?i:%b)[ \t]{0,255}:" % watched if names else b""
    return re.compile(rb"(?:(?:[ \t]%b)%b)++" % (field, _REST))
