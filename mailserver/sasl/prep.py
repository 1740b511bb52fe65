"""SASLprep (RFC 4013): one form for equivalent spellings of a name or a password.

It is not for addresses; ``mail.address`` normalises local parts and domains.
"""

import stringprep
import unicodedata
from collections.abc import Set

# RFC 4013 section 2.3, table by table of RFC 3454 appendix C.
_PROHIBITED = (
    (stringprep.in_table_c12, "a space outside ASCII"),
    (stringprep.in_table_c21_c22, "a control character"),
    (stringprep.in_table_c3, "a private use character"),
    (stringprep.in_table_c4, "a code point that is not a character"),
    (stringprep.in_table_c5, "a surrogate"),
    (stringprep.in_table_c6, "a character that is inappropriate for plain text"),
    (stringprep.in_table_c7, "an ideographic description character"),
    (stringprep.in_table_c8, "a character that changes the display"),
    (stringprep.in_table_c9, "a tag"),
)


def saslprep(text: str, *, stored: bool = False) -> str:
    """The prepared form, which may be empty.

    ``stored`` also rejects code points that are unassigned in Unicode 3.2 (RFC 3454 section 7). Raises
    ValueError with the reason, which contains nothing of ``text``.
    """
    if text.isascii() and text.isprintable():
        return text
    # Look-ups are slow, so each different character is looked up once.
    mapped = text.translate({ord(char): _mapped(char) for char in set(text)})
    result = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    different = set(result)
    for char in sorted(different):
        for prohibited, what in _PROHIBITED:
            if prohibited(char):
                raise ValueError(f"it has {what}")
        if stored and stringprep.in_table_a1(char):
            raise ValueError("it has a character that is unassigned in Unicode 3.2")
    _check_direction(result, different)
    return result


def prepared(text: str) -> str:
    """The prepared form, or ``text`` itself if SASLprep rejects it.

    Earlier servers allowed passwords that SASLprep prohibits, with a tab or a private use character, and most
    clients send passwords as typed. Such passwords keep working.
    """
    try:
        return saslprep(text)
    except ValueError:
        return text


def _mapped(char: str) -> str:
    """RFC 4013 section 2.1. U+200B is in both tables; it becomes a space."""
    if stringprep.in_table_c12(char):
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _check_direction(text: str, different: Set[str]) -> None:
    """RFC 3454 section 6: right-to-left text has no left-to-right characters, and begins and ends with
    right-to-left characters."""
    if not any(map(stringprep.in_table_d1, different)):
        return
    if any(map(stringprep.in_table_d2, different)):
        raise ValueError("it mixes left-to-right and right-to-left characters")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("it is right-to-left, but does not begin and end with such characters")
