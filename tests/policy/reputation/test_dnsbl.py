"""Queries to lists of client addresses, and what their answers mean."""

import pytest

from mailserver.policy.reputation.dnsbl import MAX_TEXT, QueryRefused, listing_codes, query_name, readable
from tests.support.reputation import zone


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("192.0.2.99", "99.2.0.192.bl.example"),
        ("::ffff:192.0.2.99", "99.2.0.192.bl.example"),
        (
            "2001:db8:1:2:3:4:567:89ab",  # RFC 5782 section 2.4
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example",
        ),
        ("fe80::1%eth0", f"1.{'0.' * 28}8.e.f.bl.example"),
    ],
)
def test_the_name_of_a_query(ip: str, name: str) -> None:
    assert query_name(ip, "bl.example") == name


@pytest.mark.parametrize(
    ("answers", "codes"),
    [
        ((), ()),
        (("127.0.0.2",), ("127.0.0.2",)),
        (("127.0.0.10", "127.0.0.3"), ("127.0.0.3", "127.0.0.10")),
        (("127.0.0.11",), ("127.0.0.11",)),
        # in the network of lists, but not documented by this one
        (("127.0.0.1",), ()),
        (("127.0.0.12", "127.0.1.2", "127.255.254.255"), ()),
        (("127.0.0.2", "127.0.0.200"), ("127.0.0.2",)),
        ([f"127.0.0.{2 + number % 10}" for number in range(30)], None),
    ],
)
def test_only_documented_answers_count(answers: tuple[str, ...], codes: tuple[str, ...] | None) -> None:
    found = listing_codes(zone(), answers)
    assert len(found) == 10 if codes is None else found == codes


@pytest.mark.parametrize(
    "answers",
    [
        ("127.255.255.252",),
        ("127.255.255.254",),
        ("127.255.255.255",),
        ("127.0.0.2", "127.255.255.254"),
        ("192.0.2.1",),
        ("127.0.0.2", "203.0.113.80"),
        ("128.0.0.2",),
    ],
)
def test_a_refused_query_is_no_listing(answers: tuple[str, ...]) -> None:
    with pytest.raises(QueryRefused):
        listing_codes(zone(), answers)


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        ([], ""),
        ([b""], ""),
        ([b"Blocked - see https://bl.example/q?192.0.2.99"], "Blocked - see https://bl.example/q?192.0.2.99"),
        ([b"one", b"two"], "one"),
        ([b" a\r\n250 2.0.0 Ok\t\x1b[31mred\x00\x80 "], "a 250 2.0.0 Ok [31mred"),
        ([b"x" * 60000], "x" * MAX_TEXT),
        ([b"x" * (MAX_TEXT - 1) + b" y"], "x" * (MAX_TEXT - 1)),
    ],
)
def test_the_explanation_is_one_short_line(texts: list[bytes], text: str) -> None:
    assert readable(texts) == text
