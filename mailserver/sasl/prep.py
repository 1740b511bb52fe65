"""SASLprep (RFC 4013): one form for the spellings of a name or a password that look alike.

Not for addresses: what is a local part or a domain is for ``mail.address`` to say.
"""

import stringprep
import unicodedata
from collections.abc import Set

# RFC 4013 section 2.3, table by table of RFC 3454 appendix C.
_PROHIBITED = (
    (stringprep.in_table_c12, "a space that is not ASCII's"),
    (stringprep.in_table_c21_c22, "a control character"),
    (stringprep.in_table_c3, "a private use character"),
    (stringprep.in_table_c4, "a code point that is no character"),
    (stringprep.in_table_c5, "a surrogate"),
    (stringprep.in_table_c6, "a character that is no plain text"),
    (stringprep.in_table_c7, "a character that describes others"),
    (stringprep.in_table_c8, "a character that changes the display"),
    (stringprep.in_table_c9, "a tag"),
)


def saslprep(text: str, *, stored: bool = False) -> str:
    """The prepared form, which may be empty.

    ``stored`` refuses code points that Unicode 3.2 has not assigned, too (RFC 3454 section 7). Raises
    ValueError, whose text has the reason and nothing of ``text``.
    """
    if text.isascii() and text.isprintable():
        return text
    # Each character is looked up once, however often it is there: it is the look-ups that cost.
    mapped = text.translate({ord(char): _mapped(char) for char in set(text)})
    result = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    different = set(result)
    for char in sorted(different):
        for prohibited, what in _PROHIBITED:
            if prohibited(char):
                raise ValueError(f"it has {what}")
        if stored and stringprep.in_table_a1(char):
            raise ValueError("it has a character that SASLprep does not know")
    _check_direction(result, different)
    return result


def prepared(text: str) -> str:
    """The prepared form, or ``text`` as it is where SASLprep refuses it.

    Servers of before let people have passwords that SASLprep forbids, with a tab or a private use
    character in them, and most clients send them as they are typed: such a password goes on working.
    """
    try:
        return saslprep(text)
    except ValueError:
        return text


def _mapped(char: str) -> str:
    """RFC 4013 section 2.1. U+200B is in both tables, and is a space first."""
    if stringprep.in_table_c12(char):
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _check_direction(text: str, different: Set[str]) -> None:
    """RFC 3454 section 6: right-to-left text is nothing else, and begins and ends as such."""
    if not any(map(stringprep.in_table_d1, different)):
        return
    if any(map(stringprep.in_table_d2, different)):
        raise ValueError("it mixes left-to-right and right-to-left characters")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("it is right-to-left, but does not begin and end so")
