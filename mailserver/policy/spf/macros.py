"""Macro strings of SPF records (RFC 7208 section 7): their grammar, and what they expand to.

    domain-spec      = macro-string domain-end
    domain-end       = ( "." toplabel [ "." ] ) / macro-expand
    toplabel         = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum )
    explain-string   = *( macro-string / SP )
    macro-string     = *( macro-expand / macro-literal )
    macro-expand     = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
    macro-literal    = %x21-24 / %x26-7E
    macro-letter     = "s" / "l" / "o" / "d" / "i" / "p" / "h" / "c" / "r" / "t" / "v"
    transformers     = *DIGIT [ "r" ]
    delimiter        = "." / "-" / "+" / "," / "/" / "_" / "="

Letters are read in any case (RFC 5234 section 2.3). A macro letter in upper case stands for the same value,
escaped as for a URL.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

import attrs

from mailserver.policy.spf.values import SPFSyntaxError

MAX_NAME = 253  # characters of a domain name; longer ones lose labels on the left side (section 7.3)
MAX_LABEL = 63
MAX_PARTS = 999  # no name has so many labels
ONLY_EXPLAINING = frozenset("crt")  # letters that are allowed in explanations alone (section 7.2)

_EXPAND = r"%\{(?P<letter>[slodiphcrtv])(?P<digits>[0-9]*)(?P<reverse>r?)(?P<delimiters>[-.+,/_=]*)\}"
_TOKEN = re.compile(rf"{_EXPAND}|%(?P<escape>[%_-])|(?P<literal>[!-$&-~]+)", re.ASCII | re.IGNORECASE)
_EXPLAIN_TOKEN = re.compile(rf"{_EXPAND}|%(?P<escape>[%_-])|(?P<literal>[ -$&-~]+)", re.ASCII | re.IGNORECASE)
_ESCAPED = {"%": "%", "_": " ", "-": "%20"}
_TOPLABEL = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")


@attrs.frozen
class SPFMacro:
    """A macro: the value of ``letter``, split at each of ``delimiters`` ("" for dots).

    Its parts are reversed if ``is_reversed``. The last ``parts`` of them stay, all with 0, joined with dots.
    """

    letter: str
    parts: int = 0
    is_reversed: bool = False
    delimiters: str = ""
    for_url: bool = False

    def expand(self, values: Mapping[str, str]) -> str:
        """The text for the macro, with the values of the letters."""
        value = values[self.letter]
        if self.parts or self.is_reversed or self.delimiters:
            delimiters = self.delimiters or "."
            first = delimiters[0]
            for other in delimiters[1:]:
                value = value.replace(other, first)
            parts = value.split(first)
            if self.is_reversed:
                parts.reverse()
            value = ".".join(parts[-self.parts :])
        return quote(value, safe="", errors="replace") if self.for_url else value


MacroString = tuple[SPFMacro | str, ...]


def parse_macro_string(text: str, *, explaining: bool = False) -> MacroString:
    """Read a macro-string, or with ``explaining`` an explain-string. Raises :class:`SPFSyntaxError`."""
    token = _EXPLAIN_TOKEN if explaining else _TOKEN
    pieces: list[SPFMacro | str] = []
    position = 0
    while position < len(text):
        match = token.match(text, position)
        if match is None:
            what = "macro" if text[position] == "%" else "character"
            raise SPFSyntaxError(f"invalid {what} at {text[position : position + 20]!r}")
        pieces.append(_piece(match))
        position = match.end()
    return tuple(pieces)


def _piece(match: re.Match[str]) -> SPFMacro | str:
    if match["literal"]:
        return match["literal"]
    if match["escape"]:
        return _ESCAPED[match["escape"]]
    digits = match["digits"].lstrip("0")
    if match["digits"] and not digits:
        raise SPFSyntaxError(f"the number in {match[0][:20]!r} is zero")
    return SPFMacro(
        letter=match["letter"].lower(),
        parts=int(digits or "0") if len(digits) <= len(str(MAX_PARTS)) else 0,
        is_reversed=bool(match["reverse"]),
        delimiters=match["delimiters"],
        for_url=match["letter"].isupper(),
    )


def parse_domain_spec(text: str) -> MacroString:
    """Read a domain-spec. Raises :class:`SPFSyntaxError`."""
    pieces = parse_macro_string(text)
    forbidden = ONLY_EXPLAINING.intersection(letters(pieces))
    if forbidden:
        raise SPFSyntaxError(f"the macro letter {min(forbidden)!r} is only allowed in explanations")
    if not pieces:
        raise SPFSyntaxError("the domain is missing")
    *_, last = _TOKEN.finditer(text)
    if last["literal"]:
        _, dot, top = last["literal"].removesuffix(".").rpartition(".")
        if not dot or not _TOPLABEL.fullmatch(top):
            raise SPFSyntaxError("the domain does not end with a top-level domain or a macro")
    return pieces


def letters(pieces: MacroString) -> frozenset[str]:
    """The letters of all macros."""
    return frozenset(piece.letter for piece in pieces if isinstance(piece, SPFMacro))


def expand(pieces: MacroString, values: Mapping[str, str]) -> str:
    """The text, with the values of the letters."""
    return "".join(_expand(piece, values) for piece in pieces)


def expand_name(pieces: MacroString, values: Mapping[str, str]) -> str:
    """The domain name, without the final dot. It may be invalid (section 4.8): see :func:`is_name`.

    Successive labels on the left side are removed if it is too long (section 7.3). What they are is not even
    computed, because few octets of a hostile record can expand to many.
    """
    name = ""
    for piece in reversed(pieces):
        name = _expand(piece, values) + name
        if len(name) > MAX_NAME + 2:  # the final dot, and one before the part that stays
            break
    name = name.removesuffix(".")
    if len(name) > MAX_NAME:
        dot = name.find(".", len(name) - MAX_NAME - 1)
        name = name[dot + 1 :] if dot >= 0 else ""
    return name


def _expand(piece: SPFMacro | str, values: Mapping[str, str]) -> str:
    return piece if isinstance(piece, str) else piece.expand(values)


def is_name(name: str) -> bool:
    """Whether DNS could know ``name``, and it has several labels (section 4.3). An IP address is none."""
    parts = name.split(".")
    return (
        len(name) <= MAX_NAME
        and len(parts) > 1
        and all(0 < len(label) <= MAX_LABEL for label in parts)
        and _TOPLABEL.fullmatch(parts[-1]) is not None
        and name.isascii()
        and name.isprintable()
    )
