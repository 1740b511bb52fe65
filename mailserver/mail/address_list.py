"""Reads the addresses in the fields To, Cc and Bcc (RFC 5322 section 3.4), as they are in real messages.

    address-list = (address *("," address)) / obs-addr-list
    address      = mailbox / group
    mailbox      = name-addr / addr-spec
    name-addr    = [display-name] "<" [obs-route] addr-spec ">"
    group        = display-name ":" [group-list] ";"

Names, comments and routes are dropped. The addresses are not checked, which is for
:class:`~mailserver.mail.address.Address`. Line ends of folded fields count as white space.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from mailserver.errors import AddressError

# A backslash outside quotes takes the next octet with it. So the rest of a quoted string without an end is
# not tried again at each quoted quote in it, which would take quadratic time. The same is true of a literal.
TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<quoted>"(?:[^"\\]|\\.)*+")
    | (?P<literal>\[(?:[^\[\]\\]|\\.)*+\])
    | (?P<special>[(),:;<>])
    | (?P<text>(?:[^ \t\r\n"\[(),:;<>\\]|\\[^\r\n]?)++|[\["])""",
    re.VERBOSE | re.DOTALL,
)
_IN_COMMENT = re.compile(r"(?:[^()\\]|\\.|\\\Z)*+", re.DOTALL)
_FOLD = re.compile(r"\r?\n")


def addresses_in(field: str) -> Iterator[str]:
    """The addresses in the body of one field. Raises :class:`AddressError` for a list that has no end."""
    words: list[str] = []
    bracket: list[str] | None = None  # the words since "<"
    angled: str | None = None
    at = 0
    while at < len(field):
        token = TOKEN.match(field, at)
        assert token is not None
        at = token.end()
        char = token[0]
        if token.lastgroup == "space":
            continue
        if token.lastgroup != "special":
            (words if bracket is None else bracket).append(_FOLD.sub("", char))
        elif char == "(":
            at = after_comment(field, at)
        elif bracket is not None:
            if char == ">":
                angled, bracket = "".join(bracket), None
            elif char == ":" or (char == "," and bracket[:1] and bracket[0].startswith("@")):
                # a route ends at ":", and has commas
                bracket = bracket if char == "," else []
            else:
                raise AddressError(f"{''.join(bracket)[:60]!r} has no closing angle bracket")
        elif char == "<":
            bracket = []
        elif char == ":":
            words = []  # the name of a group
        elif char in ",;":
            yield from _address(words, angled)
            words, angled = [], None
        else:
            raise AddressError(f"unexpected {char!r} after {' '.join(words)[:60]!r}")
    if bracket is not None:
        raise AddressError(f"{''.join(bracket)[:60]!r} has no closing angle bracket")
    yield from _address(words, angled)


def _address(words: list[str], angled: str | None) -> Iterator[str]:
    text = "".join(words) if angled is None else angled
    if angled is None and len(words) > 1 and not _is_one(words):
        raise AddressError(f"{' '.join(words)[:60]!r} is not an address")
    if text:
        yield text


def _is_one(words: list[str]) -> bool:
    """Whether white space between the words stands beside a dot or an at sign only."""
    return all(left[-1] in ".@" or right[0] in ".@" for left, right in pairwise(words))


def after_comment(field: str, at: int) -> int:
    """The position after a comment whose "(" is before ``at``. Raises :class:`AddressError`."""
    depth = 1
    while depth:
        match = _IN_COMMENT.match(field, at)
        assert match is not None
        at = match.end()
        if at == len(field):
            raise AddressError("a comment is not closed")
        depth += 1 if field[at] == "(" else -1
        at += 1
    return at
