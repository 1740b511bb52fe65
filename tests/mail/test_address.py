"""The grammar of addresses, and their one normal form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import AddressError
from mailserver.mail.address import Address, format_path


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("alice@example.org", "alice", "example.org"),
        ("Alice@EXAMPLE.Org", "Alice", "example.org"),
        ("a.b+c_d-e=f@x.example", "a.b+c_d-e=f", "x.example"),
        ("!#$%&'*+-/=?^_`{|}~@x.example", "!#$%&'*+-/=?^_`{|}~", "x.example"),
        ('"two words"@x.example', "two words", "x.example"),
        ('"a\\"b\\\\c"@x.example', 'a"b\\c', "x.example"),
        ('"alice"@x.example', "alice", "x.example"),
        ('""@x.example', "", "x.example"),
        ('"a@b"@x.example', "a@b", "x.example"),
        ("alice@[192.0.2.1]", "alice", "[192.0.2.1]"),
        ("alice@[IPv6:2001:DB8::0:1]", "alice", "[IPv6:2001:db8::1]"),
        ("alice@[ipv6:::1]", "alice", "[IPv6:::1]"),
        ("alice@[X-tag:some.thing]", "alice", "[x-tag:some.thing]"),
        ("alice@b\u00fccher.example", "alice", "xn--bcher-kva.example"),
        ("alice@B\u00dcCHER.example", "alice", "xn--bcher-kva.example"),
        ("alice@bu\u0308cher\u3002example", "alice", "xn--bcher-kva.example"),
        ("alice@XN--BCHER-KVA.example", "alice", "xn--bcher-kva.example"),
        ("alice@localhost", "alice", "localhost"),
        ("alice@under_score.example", "alice", "under_score.example"),
        ("\u03b1\u03b2@x.example", "\u03b1\u03b2", "x.example"),
    ],
)
def test_good_addresses(text: str, local: str, domain: str) -> None:
    address = Address.parse(text)
    assert (address.local, address.domain) == (local, domain)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "alice", "@example.org", "alice@", "a@b@c.example", "al ice@x.example", ".alice@x.example",
        "alice.@x.example", "a..b@x.example", '"open@x.example', '"a"b@x.example', "alice@-x.example",
        "alice@x-.example", "alice@x..example", "alice@.example", "alice@example.", "alice@x y.example",
        "alice@[1.2.3]", "alice@[1.2.3.4", "alice@[]", "alice@[IPv6:1.2.3.4]", "alice@[tag:]",
        "a\0b@x.example",
        "a" * 256 + "@x.example", "alice@" + "a" * 64 + ".example", "alice@" + "a." * 130 + "example",
        "alice@x\u2028.example", "alice@\u2603.example", "alice@a\u200db.example",
        "a\r\nb@x.example", '"\r\n"@x.example', "../../x", "alice@../x", "alice@a/b",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressError):
        Address.parse(text)


def test_accounts_are_found_whatever_the_case() -> None:
    assert Address.parse("ALICE@Example.ORG").key == Address.parse("alice@example.org").key
    assert Address.parse("ALICE@example.org") != Address.parse("alice@example.org")


def test_paths() -> None:
    assert format_path(None) == "<>"
    assert format_path(Address("two words", "x.example")) == '<"two words"@x.example>'


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert Address.parse(str(address)) == address
    assert "\n" not in str(address) and "\r" not in str(address)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_local_part_survives_quoting(local: str) -> None:
    assert Address.parse(str(Address(local, "x.example"))).local == local
