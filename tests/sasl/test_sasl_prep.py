"""SASLprep: the table of examples of RFC 4013 section 3, and each rule beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.sasl.prep import prepared, saslprep


@pytest.mark.parametrize(
    ("text", "result"),
    [
        # RFC 4013 section 3
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        # spaces, what is mapped to nothing, normal form KC
        ("", ""),
        ("two  words ~!", "two  words ~!"),
        ("a\u00a0b\u3000c\u200bd", "a b c d"),
        ("a\u200d\u2060\ufe0f\ufeffb", "ab"),
        ("\u00ad", ""),
        ("u\u0308ber", "über"),
        ("ﬁsh", "fish"),
        # one direction
        ("\u0627\u0628", "\u0627\u0628"),
        ("\u0627 1\u0628", "\u0627 1\u0628"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_prepares(text: str, result: str, stored: bool) -> None:
    assert saslprep(text, stored=stored) == result
    assert prepared(text) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # RFC 4013 section 3
        ("\u0007", "control character"),
        ("\u0627\u0031", "right-to-left"),
        # section 2.3
        ("\0", "control character"),
        ("tab\there", "control character"),
        ("\u007f", "control character"),
        ("\u0085", "control character"),
        ("\u2028", "control character"),
        ("\ue000", "private use"),
        ("\U0010fffd", "private use"),
        ("\ufdd0", "not a character"),
        ("\uffff", "not a character"),
        ("\ud800", "surrogate"),
        ("\ufffd", "inappropriate for plain text"),
        ("\u2ff0", "ideographic description"),
        ("\u200e", "changes the display"),
        ("\U000e0020", "a tag"),
        # section 2.4
        ("\u0627a\u0628", "mixes"),
        ("1\u0627", "right-to-left"),
    ],
)
def test_refuses(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        saslprep(text)
    assert text not in str(refusal.value)
    assert prepared(text) == text


def test_code_points_of_later_years_are_for_queries_alone() -> None:
    assert saslprep("😀") == "😀"
    with pytest.raises(ValueError, match="unassigned"):
        saslprep("😀", stored=True)


@given(st.text())
def test_what_is_prepared_is_prepared_for_good(text: str) -> None:
    once = prepared(text)
    assert prepared(once) == once
