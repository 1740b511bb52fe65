"""Macro strings: the examples of RFC 7208 section 7.4, transformers, delimiters, letters, long names."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Address
from mailserver.policy.spf.macros import MAX_NAME, expand, expand_name, parse_domain_spec, parse_macro_string
from mailserver.policy.spf.values import SPFRequest, SPFSyntaxError
from tests.support.spf import ZoneAnswers, read_zone

SENDER = Address("strong-bad", "email.example.com")
NIBBLES = "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2"
ZONE = {
    "email.example.com": ["TXT v=spf1 -all exp=why.example.com"],
    "3.2.0.192.in-addr.arpa": ["PTR other.example.org", "PTR mx.example.org"],
    "mx.example.org": ["A 192.0.2.3"],
}


def explanation(text, ip="192.0.2.3", sender=SENDER, helo="mx.example.org", zone=None) -> str:
    """What the text expands to in an explanation, which may have all letters."""
    zone = ZONE | {"why.example.com": [f"TXT {text}"]} | (zone or {})
    request = SPFRequest(ip=ip, helo=helo, reverse_path=sender, receiver="in.example.net", time=1700000000)
    result = ZoneAnswers(read_zone(zone)).evaluate(request)
    assert result.result == "fail"
    return result.explanation


EXPANSIONS = {
    # section 7.4
    "%{s}": "strong-bad@email.example.com",
    "%{o}": "email.example.com",
    "%{d}": "email.example.com",
    "%{d4}": "email.example.com",
    "%{d3}": "email.example.com",
    "%{d2}": "example.com",
    "%{d1}": "com",
    "%{dr}": "com.example.email",
    "%{d2r}": "example.email",
    "%{l}": "strong-bad",
    "%{l-}": "strong.bad",
    "%{lr}": "strong-bad",
    "%{lr-}": "bad.strong",
    "%{l1r-}": "strong",
    "%{ir}.%{v}._spf.%{d2}": "3.2.0.192.in-addr._spf.example.com",
    "%{lr-}.lp._spf.%{d2}": "bad.strong.lp._spf.example.com",
    "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}": "bad.strong.lp.3.2.0.192.in-addr._spf.example.com",
    "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}": "3.2.0.192.in-addr.strong.lp._spf.example.com",
    "%{d2}.trusted-domains.example.net": "example.com.trusted-domains.example.net",
    # sections 7.2 and 7.3
    "%{c} %{h} %{p} %{r} %{t}": "192.0.2.3 mx.example.org mx.example.org in.example.net 1700000000",
    "%{D2R}": "example.email",
    "%{d02}": "example.com",
    "%{d128} %{d99999999999999999999999}": "email.example.com email.example.com",
    "%{o1r.-}": "email",
    "%{d.+,/_=-}": "email.example.com",
    "%{S}": "strong-bad%40email.example.com",
    "%%%_%-.": "% %20.",
}


@pytest.mark.parametrize(("text", "expected"), EXPANSIONS.items(), ids=EXPANSIONS)
def test_expansions(text, expected) -> None:
    assert explanation(text) == expected


def test_ipv6() -> None:
    assert explanation("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01") == f"{NIBBLES}.ip6._spf.example.com"
    assert explanation("%{c}", "2001:DB8:0::CB01") == "2001:db8::cb01"
    assert explanation("%{c}", "fe80::1%eth0") == "fe80::1"
    assert explanation("%{c} %{v}", "::ffff:192.0.2.3") == "192.0.2.3 in-addr"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mx.example.org"], "mx.example.org"),
        (["mx.example.org", "mail.email.example.com"], "mail.email.example.com"),
        (["mail.email.example.com", "email.example.com"], "email.example.com"),
        (["forged.example.org"], "unknown"),
        (["fails.example.org"], "unknown"),
        ([], "unknown"),
    ],
    ids=["another", "a subdomain", "the domain itself", "another address", "DNS fails", "none"],
)
def test_the_name_of_the_client(names, expected) -> None:
    zone = {
        "3.2.0.192.in-addr.arpa": [f"PTR {name}" for name in names],
        "mail.email.example.com": ["A 192.0.2.3"],
        "email.example.com": [*ZONE["email.example.com"], "A 192.0.2.3"],
        "forged.example.org": ["A 192.0.2.9"],
        "fails.example.org": ["FAIL"],
    }
    assert explanation("%{p}", zone=zone) == expected


@pytest.mark.parametrize("text", ["x" * 481, "%{d1}" * 97, "%{s}" * 100, "\tx", "%{c", "%{h}"])
def test_an_explanation_that_cannot_be_used(text) -> None:
    assert explanation(text, helo="a\nb") == ""


def test_characters_that_cannot_be_encoded() -> None:
    assert explanation("%{L}", sender=Address("\udcff", SENDER.domain)) == "%3F"


@pytest.mark.parametrize(
    "text",
    ["%", "%x", "%{}", "%{x}", "%{dx}", "%{d-r}", "%{rd}", "%{d0}", "%{d000}", "%{d", "%{ d}", "a b", "é"],
)
def test_malformed_macros(text) -> None:
    with pytest.raises(SPFSyntaxError):
        parse_macro_string(text)


@pytest.mark.parametrize("text", ["", "com", "x.", "x.-a", "x.a-", "x.1", "%{c}.a", "%{d}com", "%%x", "x}"])
def test_malformed_domains(text) -> None:
    with pytest.raises(SPFSyntaxError):
        parse_domain_spec(text)


@pytest.mark.parametrize(
    "text", ["x.com", "x.com.", "x.xn--1", "x.1-2", ".com", "%{d}", "x%%", "x%-", "/:.d"]
)
def test_domains(text) -> None:
    assert parse_domain_spec(text)


PIECES = st.sampled_from(["%{d}", "%{l1r-}", "%{S}", "a", ".", "example.com", "x" * 60, "x" * 300, "%%"])


@given(st.lists(PIECES, min_size=1, max_size=30), st.text("a.-", max_size=80))
def test_long_names_lose_labels_on_the_left(texts, value) -> None:
    pieces = parse_macro_string("".join(texts))
    values = dict.fromkeys("slodiphcrtv", value)
    whole = expand(pieces, values).removesuffix(".")
    while len(whole) > MAX_NAME:
        whole = whole.partition(".")[2]
    assert expand_name(pieces, values) == whole


LONGEST = "a." * 125 + "com"


@pytest.mark.parametrize("text", ["%{d}", "%{d}.", "x.%{d}", "x.%{d}.", "%{l}.%{d}", "x%{l}.%{d}."])
def test_the_longest_name(text) -> None:
    values = {"d": LONGEST, "l": "y"}
    assert len(LONGEST) == MAX_NAME
    assert expand_name(parse_macro_string(text), values) == LONGEST


@pytest.mark.parametrize("text", ["x%{d}", "%{l}%{d}.", "x%{l}%{d}"])
def test_a_name_that_is_longer_by_one(text) -> None:
    values = {"d": LONGEST, "l": "y"}
    assert expand_name(parse_macro_string(text), values) == LONGEST.partition(".")[2]


def test_what_is_cut_off_is_not_expanded() -> None:
    values = defaultdict(lambda: "x" * MAX_NAME)
    assert expand_name(parse_macro_string("%{l}" * 1000 + "%{d}%{o}"), values) == ""
    assert not {"l"} & values.keys()
