"""One form for all spellings of a name; names that people can tell apart."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import AddressError
from mailserver.mail.address import Address, folded
from mailserver.mail.names import composed, folder_name, require_clear

SAME = [
    ("zo\u00eb", "zoe\u0308", "ZO\u00cb", "ZOE\u0308"),
    ("\u00c5", "\u212b", "a\u030a"),
    ("stra\u00dfe", "STRASSE", "STRA\u1e9eE"),
    ("\u03c3\u03bf\u03c6\u03cc\u03c2", "\u03a3\u039f\u03a6\u038c\u03a3"),
    ("\u0438\u0432\u0430\u043d", "\u0418\u0412\u0410\u041d"),
    ("\uac00", "\u1100\u1161"),
    ("\u1fb4", "\u03b1\u0345\u0301", "\u03b1\u0301\u0345"),  # the order of marks must not matter
]
OTHERS = ["alice", "\u0430lice", "\uff41lice", "\u03b1lice", "al\u0131ce", "zoe", "\u4e2d", "\u2f2d"]


@pytest.mark.parametrize("spellings", SAME)
def test_spellings_of_one_name(spellings: tuple[str, ...]) -> None:
    assert len({Address(name, "x.example").key for name in spellings}) == 1
    assert len({folder_name(name) for name in spellings}) == 1
    assert {composed(Address(name, "x")).local for name in spellings} == {
        unicodedata.normalize("NFC", name) for name in spellings
    }


def test_look_alikes_are_other_names() -> None:
    names = [*OTHERS, *(spellings[0] for spellings in SAME)]
    for one, other in itertools.combinations(names, 2):
        assert folded(one) != folded(other) and folder_name(one) != folder_name(other)


@given(st.text())
def test_the_folded_form_is_final_and_composed(text: str) -> None:
    once = folded(text)
    assert folded(once) == once == unicodedata.normalize("NFC", once)
    assert folded(unicodedata.normalize("NFD", text)) == folded(unicodedata.normalize("NFC", text)) == once


@pytest.mark.parametrize(
    "name",
    [
        "alice", "zo\u00eb.2+x", "\u0438\u0432\u0430\u043d.1999", "\u4e2d\u6587", "\u5c71\u7530tar\u014d",
        "\u3072\u30ab\u30fc\u6f22\u3005", "\ud55c\uae00-\u6f22\u5b57", "\u0639\u0644\u064a\u0661",
        "\u05d3\u05d5\u05d3", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e2a\u0e21\u0e0a\u0e32\u0e22",
        "\u2603", "\uff41lice", "\u0130stanbul",
    ],
)  # fmt: skip
def test_names_of_one_script(name: str) -> None:
    require_clear(Address(name, "x.example"))
    require_clear(Address(unicodedata.normalize("NFD", name), "x.example"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("\u0430lice", "scripts Cyrillic and Latin"),
        ("\u0391lice", "scripts Greek and Latin"),
        ("\u0438\u03b1", "scripts Cyrillic and Greek"),
        ("al\u0585", "scripts Armenian and Latin"),
        ("\u3072\ud55c", "scripts Hangul and Hiragana"),
        ("a\u0661", "scripts Arabic and Latin"),
        ("a\U000e0101", "scripts Latin and Variation"),
        ("a\u200db", r"U\+200D"),
        ("\u202ea", r"U\+202E"),
        ("a\u0378", r"U\+0378"),
    ],
)
def test_names_that_people_could_not_tell_apart(name: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        require_clear(Address(name, "x.example"))
