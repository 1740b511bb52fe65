"""ARC fields with odd and malformed values, as forwarders and attackers write them (RFC 8617 section 4.1)."""

import pytest

from tests.support.arc import MESSAGE, chain, checked, first, sealed, second

BOTH = [  # tags, and whether the chain is valid if a signature, or a seal, has them
    ({"t": None}, True),
    ({"new": "some value"}, True),
    ({"v": "1"}, True),
    ({"i": " 1 "}, True),
    ({"d": "EXAMPLE.ORG"}, True),
    ({"a": "RSA-SHA256"}, True),
    ({"i": None}, False),
    ({"i": ""}, False),
    ({"i": "0"}, False),
    ({"i": "01"}, False),
    ({"i": "2"}, False),
    ({"i": "51"}, False),
    ({"i": "x"}, False),
    ({"i": "1x"}, False),
    ({"a": None}, False),
    ({"a": ""}, False),
    ({"a": "rsa-sha1"}, False),
    ({"a": "ed25519-sha256"}, False),
    ({"b": ""}, False),
    ({"b": "****"}, False),
    ({"b": "AAAA"}, False),
    ({"d": None}, False),
    ({"d": ""}, False),
    ({"d": "not a domain"}, False),
    ({"s": None}, False),
    ({"s": ""}, False),
    ({"s": "unknown"}, False),
    ({"t": ""}, False),
    ({"t": "soon"}, False),
    ({"t": "1700009999"}, False),
    ({"t": "1", "T": "2", " t": "3"}, False),
    ({"1x": "y"}, False),
    ({"I": "1", "i": None}, False),
    ({"t;": "1"}, False),
]
SIGNATURES = [
    ({"c": "relaxed/simple"}, True),
    ({"c": "simple/relaxed"}, True),
    ({"c": "simple/simple"}, True),
    ({"c": "simple"}, True),
    ({"h": "From : TO\r\n :\r\n subject"}, True),
    ({"h": ""}, True),
    ({"h": "from:from:missing:missing"}, True),
    ({"c": ""}, False),
    ({"c": "other/relaxed"}, False),
    ({"h": None}, False),
    ({"h": "from:arc-seal"}, False),
    ({"bh": None}, False),
    ({"bh": ""}, False),
    ({"bh": "****"}, False),
    ({"x": "1600000000"}, False),
]
SEALS = [
    ({"cv": "none", "h": ""}, False),
    ({"cv": None}, False),
    ({"cv": ""}, False),
    ({"cv": "none none"}, False),
    ({"cv": "pass"}, False),
    ({"cv": "fail"}, False),
    ({"cv": "None"}, True),
]


@pytest.mark.parametrize(("tags", "valid"), BOTH + SIGNATURES)
def test_signatures(tags, valid):
    assert checked(first(signature=tags)).result == ("pass" if valid else "fail")


@pytest.mark.parametrize(("tags", "valid"), BOTH + SEALS)
def test_seals(tags, valid):
    assert checked(first(seal=tags)).result == ("pass" if valid else "fail")


@pytest.mark.parametrize(
    ("results", "valid"),
    [
        (b"i=1; x; none", True),
        (b" i = 1 ;x; none", True),
        (b"i=1;\r\n x;\r\n dkim=pass (i=2;)", True),
        (b"i=1", False),
        (b"i=; x; none", False),
        (b"i=0; x; none", False),
        (b"i=2; x; none", False),
        (b"i=x; x; none", False),
        (b"x; i=1; none", False),
        (b"x; none", False),
    ],
)
def test_results(results, valid):
    assert checked(sealed(MESSAGE, 1, results=results)).result == ("pass" if valid else "fail")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"ARC-Seal: i=1;", b"arc-SEAL \t:  i=1 ;"),
        (b"ARC-Message-Signature: bh", b"ARC-MESSAGE-Signature:\r\n bh"),
        (b"ARC-Authentication-Results: i=1; ", b"Arc-Authentication-Results:i=1;\t "),
        (b"Subject: one", b"SUBJECT:\r\n   one  "),
        (b"Text.\r\n", b"Text. \t \r\n\r\n\r\n"),
    ],
)
def test_white_space_and_case_do_not_matter(before, after):
    message = chain(2)
    changed = message.replace(before, after)
    assert changed != message
    expected = "fail" if b" ;" in after else "pass"  # white space before a semicolon is signed
    assert checked(changed).result == expected


def test_only_the_last_signature_must_be_one_of_the_message_as_it_is():
    """A forwarder may change the message, and says then what it was before (section 5.2 step 5)."""
    changed = first().replace(b"Subject: one", b"Subject: [list] one") + b"-- \r\nThe list\r\n"
    assert checked(changed).result == "fail"
    assert checked(sealed(changed, 2)).result == "pass"


def test_forwarders_may_use_several_domains_and_kinds_of_keys():
    message = sealed(sealed(MESSAGE, 1, kind="ed25519"), 2, kind="rsa")
    assert checked(message).result == "pass"
    assert checked(second(seal={"d": "a.example"})).reason == "seal of set 2: no key"
