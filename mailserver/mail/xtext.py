"""The encodings of addresses and identifiers in requests for reports and in reports.

    xtext            = *( xchar / hexchar )                 ; RFC 3461 section 4
    hexchar          = "+" 2HEXDIG
    ORCPT            = addr-type ";" xtext                  ; RFC 3461 section 4.2
    ORCPT            = "utf-8;" utf-8-enc-addr              ; RFC 6533 section 3
    utf-8-addr-xtext = 1*( QCHAR / "\\x{" HEXPOINT "}" )    ; the 7-bit form; RFC 6533 section 3
    utf-8-addr-unitext = 1*( QCHAR / UTF8-non-ascii / "\\x{" HEXPOINT "}" )

The values come from clients and are hostile: decoded, they may have line ends.
"""

import re

_HEXCHAR = re.compile(rb"\+([0-9A-F]{2})")
# Characters that utf-8-addr-xtext must not have as themselves.
_NO_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_OUTSIDE_ASCII = re.compile(r"[^\x00-\x7f]")
# HEXPOINT: one character that is no printable QCHAR, in the shortest form of two digits or more.
_UTF8_ADDRESS = re.compile(
    r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{(?:0[1-9A-F]|1[0-9A-F]|20|2B|3D|5C|7F|[89A-F][0-9A-F]"
    r"|[1-9A-F][0-9A-F]{2}|[1-9A-CE-F][0-9A-F]{3}|D[0-7][0-9A-F]{2}|[1-9A-F][0-9A-F]{4}|10[0-9A-F]{4})\})+"
)
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")
_UNPRINTABLE = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """``text`` with a question mark for each character that is not printable ASCII."""
    return _UNPRINTABLE.sub("?", text)


def visible(text: str) -> str:
    """``text`` with a question mark for each character that is not printable, such as a line end."""
    return "".join([char if char.isprintable() else "?" for char in text])


def from_xtext(text: str) -> str:
    """Decode xtext. Octets outside ASCII and control characters become question marks."""
    octets = _HEXCHAR.sub(lambda match: bytes([int(match[1], 16)]), text.encode("ascii", "replace"))
    return printable(octets.decode("ascii", "replace"))


def to_xtext(text: str) -> str:
    """Encode printable ASCII as xtext. Other characters become question marks."""
    return re.sub(r"[^!-*,-<>-~]", lambda match: f"+{ord(match[0]):02X}", printable(text))


def to_utf8_xtext(address: str) -> str:
    """An address outside ASCII in the 7-bit form of RFC 6533. A lone surrogate becomes U+FFFD."""
    return _NO_QCHAR.sub(_point, address)


def _point(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{{{0xFFFD if 0xD800 <= code < 0xE000 else code:02X}}}"


def is_xtext(text: str) -> bool:
    """Whether ``text`` is xtext."""
    return _XTEXT.fullmatch(text) is not None


def is_original_recipient(orcpt: str) -> bool:
    """Whether ``orcpt`` is a value of the parameter ORCPT, in any of its forms."""
    kind, _, address = orcpt.partition(";")
    form = _UTF8_ADDRESS if kind.lower() == "utf-8" else _XTEXT
    return bool(_ADDRESS_TYPE.fullmatch(kind) and form.fullmatch(address))


def ascii_orcpt(orcpt: str) -> str:
    """The parameter ORCPT in the form that every server with DSN accepts."""
    return orcpt if orcpt.isascii() else _OUTSIDE_ASCII.sub(_point, orcpt)


def original_recipient(orcpt: str) -> tuple[str, str] | None:
    """The type and the address of the parameter ORCPT. None if it is malformed.

    The address is printable ASCII; one of the type utf-8 is in the form utf-8-addr-xtext.
    """
    kind, separator, encoded = orcpt.partition(";")
    if not separator or not encoded or not _ADDRESS_TYPE.fullmatch(kind):
        return None
    kind = kind.lower()
    return kind, from_xtext(encoded) if kind != "utf-8" else printable(ascii_orcpt(encoded))
