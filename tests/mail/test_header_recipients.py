"""The recipients in a header: address lists as programs write them, and which fields count."""

from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import AddressError
from mailserver.mail.address_list import addresses_in
from mailserver.mail.header_recipients import MAX_HEADER, HeaderRecipients


@pytest.mark.parametrize(
    ("field", "addresses"),
    [
        ("", []),
        (" a@b.example", ["a@b.example"]),
        ("a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ("root", ["root"]),
        ("Ann <a@b.example>", ["a@b.example"]),
        ('"Doe, John" <j@d.example>, x@y.example', ["j@d.example", "x@y.example"]),
        ('"a \\" b" <j@d.example>', ["j@d.example"]),
        ('"j, d"@d.example', ['"j, d"@d.example']),
        ("=?utf-8?q?J=2C?= <j@d.example>", ["j@d.example"]),
        ("Jürgen <jürgen@bücher.example>", ["jürgen@bücher.example"]),
        ("a@b.example (work, not (at) home), c@d.example", ["a@b.example", "c@d.example"]),
        ("(\\)) a@b.example", ["a@b.example"]),
        ("a@b.example,\r\n\tc@d.example,\r\n ,", ["a@b.example", "c@d.example"]),
        (
            "friends: a@b.example, C <c@d.example>;, e@f.example",
            ["a@b.example", "c@d.example", "e@f.example"],
        ),
        ("undisclosed-recipients:;", []),
        ("<@r.example,@s.example:a@b.example>", ["a@b.example"]),
        ("<a@[IPv6:::1]>, b@[192.0.2.1]", ["a@[IPv6:::1]", "b@[192.0.2.1]"]),
        ("a . b @ c . example", ["a.b@c.example"]),
        ("<>", []),
        ("it's me <a@b.example>", ["a@b.example"]),
    ],
)
def test_an_address_list(field: str, addresses: list[str]) -> None:
    assert list(addresses_in(field)) == addresses


@pytest.mark.parametrize(
    "field", ["<a@b.example", "<a@b.example, c@d.example>", "a (b", "a@b c@d", "<a <b>>", "a) b", "A > b"]
)
def test_a_malformed_list(field: str) -> None:
    with pytest.raises(AddressError):
        list(addresses_in(field))


@given(st.text('ab@.,;:<>()[]"\\ \r\n\té', max_size=30))
def test_any_list(field: str) -> None:
    try:
        found = list(addresses_in(field))
    except AddressError:
        return
    assert all(found)


@given(
    st.lists(
        st.tuples(
            st.text('ab ,;:<>()"\\@', max_size=6),
            st.from_regex(r"[a-z]{1,5}@[a-z]{1,5}\.example", fullmatch=True),
        ),
        max_size=4,
    )
)
def test_as_another_parser_reads_it(pairs: list[tuple[str, str]]) -> None:
    field = ", ".join(f'"{name}" <{address}>'.replace("\\", "") for name, address in pairs if '"' not in name)
    assert list(addresses_in(field)) == [address for _, address in getaddresses([field]) if address]


def recipients(message: bytes) -> list[str]:
    for size in (1, 7, len(message) + 1):
        header = HeaderRecipients()
        for start in range(0, len(message), size):
            header.feed(message[start : start + size])
        found = header.addresses()
    return found


@pytest.mark.parametrize(
    ("message", "addresses"),
    [
        (b"To: a@b.example\r\nSubject: x\r\ncc : c\r\nBCC: d\r\n\r\nTo: e\r\n", ["a@b.example", "c", "d"]),
        (b"To: a,\r\n b\r\n\r\n", ["a", "b"]),
        (b"From me Mon Nov  2 10:00:00 2026\r\nTo: a\r\n\r\n", ["a"]),
        (b"To: a\r\nResent-To: b\r\nResent-Bcc: c\r\nCc: d\r\n\r\n", ["b", "c"]),
        # resent, but to nobody
        (b"To: a\r\nResent-To:\r\n\r\n", ["a"]),
        (b"X-To: a\r\nTo-X: b\r\nApparently-To: c\r\n\r\n", []),
        (b"\r\nTo: a\r\n\r\n", []),
        (b"Hello\r\nTo: a\r\n", []),
        (b"To: a\r\nHello\r\nCc: b\r\n", ["a"]),
        (b"", []),
    ],
)
def test_the_fields(message: bytes, addresses: list[str]) -> None:
    assert recipients(message) == addresses


def test_the_wrong_field_is_named() -> None:
    with pytest.raises(AddressError, match=r"^Resent-To: "):
        recipients(b"Resent-To: <a\r\n\r\n")


def test_a_header_without_end() -> None:
    header = HeaderRecipients()
    with pytest.raises(AddressError, match="no end within 4194304 octets"):
        for _ in range(MAX_HEADER // 65536 + 1):
            header.feed(b"x" * 65536)
    header = HeaderRecipients()
    header.feed(b"To: a\r\n\r\n")
    for _ in range(MAX_HEADER // 65536 + 1):
        header.feed(b"x" * 65536)
    assert header.addresses() == ["a"]
