"""Reverse DNS and the names of HELO."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailserver.errors import DNSFailure
from mailserver.policy.reputation.names import check_helo, check_reverse_dns
from mailserver.policy.reputation.values import ReverseName
from tests.support.reputation import HOSTNAME, arrived
from tests.support.resolvers import FakeResolver

FOUR = ("9.2.0.192.in-addr.arpa", "PTR")
SIX = (f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa", "PTR")
BROKEN = DNSFailure("SERVFAIL")


@pytest.mark.parametrize(
    ("ip", "records", "result", "name"),
    [
        ("192.0.2.9", {FOUR: ["a.example"], ("a.example", "A"): ["192.0.2.9"]}, "pass", "a.example"),
        ("::ffff:192.0.2.9", {FOUR: ["a.example"], ("a.example", "A"): ["192.0.2.9"]}, "pass", "a.example"),
        ("2001:db8::1", {SIX: ["a.example"], ("a.example", "AAAA"): ["2001:DB8:0::1"]}, "pass", "a.example"),
        (
            "192.0.2.9",
            {FOUR: ["x.example", "b.example"], ("b.example", "A"): ["192.0.2.9"]},
            "pass",
            "b.example",
        ),
        ("192.0.2.9", {FOUR: ["a.example"], ("a.example", "A"): ["192.0.2.8"]}, "fail", ""),
        ("192.0.2.9", {FOUR: ["a.example"], ("a.example", "AAAA"): ["2001:db8::1"]}, "fail", ""),
        ("192.0.2.9", {}, "permerror", ""),
        ("192.0.2.9", {FOUR: BROKEN}, "temperror", ""),
        ("192.0.2.9", {FOUR: ["a.example", "b.example"], ("a.example", "A"): BROKEN}, "temperror", ""),
        # only the first names are looked up
        (
            "192.0.2.9",
            {FOUR: [f"{one}.example" for one in range(11)], ("10.example", "A"): ["192.0.2.9"]},
            "fail",
            "",
        ),
    ],
)
def test_reverse_dns(ip: str, records: dict[Any, Any], result: Any, name: str) -> None:
    checked = Deferred.fromCoroutine(check_reverse_dns(FakeResolver(records), ip))
    assert arrived(checked) == ReverseName(result, name)


@pytest.mark.parametrize(
    ("helo", "records", "result"),
    [
        ("a.example", {("a.example", "A"): ["203.0.113.1"]}, "pass"),
        ("A.Example", {("a.example", "AAAA"): ["2001:db8::1"]}, "pass"),
        ("a.example", {("a.example", "MX"): []}, "fail"),
        ("a.example", {}, "fail"),
        ("a.example", {("a.example", "A"): BROKEN}, "temperror"),
        ("a.example", {("a.example", "A"): BROKEN, ("a.example", "AAAA"): ["2001:db8::1"]}, "pass"),
        ("[192.0.2.9]", {}, "pass"),
        ("[192.0.2.8]", {}, "fail"),
        ("[IPv6:::ffff:192.0.2.9]", {}, "pass"),
        ("[x:y]", {}, "fail"),
        ("192.0.2.9", {}, "fail"),
        ("localhost", {("localhost", "A"): ["127.0.0.1"]}, "fail"),
        (HOSTNAME, {(HOSTNAME, "A"): ["192.0.2.1"]}, "fail"),
        ("a b", {}, "fail"),
        ("", {}, "fail"),
    ],
)
def test_the_name_in_helo(helo: str, records: dict[Any, Any], result: str) -> None:
    checked = check_helo(FakeResolver(records), "192.0.2.9", helo, HOSTNAME)
    assert arrived(Deferred.fromCoroutine(checked)) == result
