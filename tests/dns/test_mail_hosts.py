"""The hosts of a domain: RFC 5321 section 5.1, RFC 7505, and what must not be tried."""

from random import Random
from typing import Any

import pytest
from twisted.internet.task import Clock

from mailserver.dns.mail_hosts import MAX_ADDRESSES, MAX_HOSTS, FoundHosts, MailHost, MailHostFinder
from mailserver.dns.public import is_public
from mailserver.dns.records import MX
from mailserver.errors import DNSFailure
from mailserver.mail import outcome
from mailserver.mail.verdict import Status
from tests.support.resolvers import FakeResolver

US = "us.example"
OUR_ADDRESS = "1.0.0.99"
BROKEN = DNSFailure("DNS lookup failed")
ZONE: dict[Any, Any] = {
    ("org.example", "MX"): [MX(20, "b.example"), MX(10, "a.example")],
    ("a.example", "A"): ["1.0.0.1", "1.0.0.2"],
    ("a.example", "AAAA"): ["2600::1", "2600::2", "2600::3"],
    ("b.example", "A"): ["1.0.0.3"],
    ("v6.example", "AAAA"): ["2600::4"],
    ("null.example", "MX"): [MX(0, ".")],
    ("half-null.example", "MX"): [MX(0, "."), MX(1, "b.example")],
    ("mixed.example", "MX"): [MX(number, f"{name}.example") for number, name in enumerate(
        ("gone", "broken", "inside", "b"))],
    ("gone.example", "MX"): [MX(1, "nothing.example")],
    ("broken.example", "A"): BROKEN,
    ("broken.example", "AAAA"): BROKEN,
    ("half.example", "A"): ["1.0.0.5"],
    ("again.example", "A"): ["1.0.0.8", "1.0.0.8"],
    ("twice-and-us.example", "MX"): [MX(1, "b.example"), MX(30, "b.example"), MX(10, US)],
    ("half.example", "AAAA"): BROKEN,
    ("no-mx.example", "MX"): BROKEN,
    ("all-broken.example", "MX"): [MX(1, "broken.example"), MX(2, "inside.example")],
    ("inside.example", "A"): ["127.0.0.1"],
    ("inside.example", "AAAA"): ["::1"],
    ("in-and-out.example", "A"): ["10.0.0.1", "1.0.0.6", "192.168.0.1"],
    ("text.example", "TXT"): [b"v=spf1 -all"],
    ("alias.example", "CNAME"): ["org.example"],
    ("mx-alias.example", "MX"): [MX(1, "points.example")],
    ("points.example", "CNAME"): ["b.example"],
    ("twice.example", "MX"): [MX(5, "b.example"), MX(1, "b.example"), MX(3, "a.example")],
    # we are the primary, a backup, among equals, an alias, or known by our address only
    ("primary.example", "MX"): [MX(10, US), MX(20, "b.example")],
    ("backup.example", "MX"): [MX(10, "b.example"), MX(20, US), MX(20, "v6.example"), MX(30, "a.example")],
    ("equals.example", "MX"): [MX(10, US), MX(10, "b.example")],
    ("hidden.example", "MX"): [MX(10, "other-name.example")],
    ("behind-alias.example", "MX"): [MX(10, "us-too.example")],
    ("broken-primary.example", "MX"): [MX(10, "broken.example"), MX(20, US)],
    ("gone-primary.example", "MX"): [MX(10, "nothing.example"), MX(20, US)],
    ("us-too.example", "CNAME"): [US],
    (US, "A"): ["1.0.0.98"],
    ("other-name.example", "A"): [OUR_ADDRESS],
}  # fmt: skip


def find(domain: str, resolver: FakeResolver | None = None, **more: Any) -> FoundHosts:
    options: dict[str, Any] = {
        "hostname": US,
        "random": Random(1),
        "is_own_address": {OUR_ADDRESS}.__contains__,
    } | more
    results: list[FoundHosts] = []
    finder = MailHostFinder(resolver=resolver or FakeResolver(ZONE), **options)
    finder.find(domain).addCallback(results.append)
    return results[0]


HOSTS: dict[str, list[tuple[str, str]]] = {
    "org.example": [("a.example", "2600::1 1.0.0.1 2600::2 1.0.0.2 2600::3"), ("b.example", "1.0.0.3")],
    "b.example": [("b.example", "1.0.0.3")],
    "v6.example": [("v6.example", "2600::4")],
    "half-null.example": [("b.example", "1.0.0.3")],
    "mixed.example": [("b.example", "1.0.0.3")],
    "half.example": [("half.example", "1.0.0.5")],
    "again.example": [("again.example", "1.0.0.8")],
    "twice-and-us.example": [("b.example", "1.0.0.3")],
    "in-and-out.example": [("in-and-out.example", "1.0.0.6")],
    "alias.example": [("a.example", "2600::1 1.0.0.1 2600::2 1.0.0.2 2600::3"), ("b.example", "1.0.0.3")],
    "mx-alias.example": [("points.example", "1.0.0.3")],
    "twice.example": [("b.example", "1.0.0.3"), ("a.example", "2600::1 1.0.0.1 2600::2 1.0.0.2 2600::3")],
    "backup.example": [("b.example", "1.0.0.3")],
    "[1.0.0.7]": [("[1.0.0.7]", "1.0.0.7")],
    "[IPv6:2600::7]": [("[IPv6:2600::7]", "2600::7")],
}


@pytest.mark.parametrize("domain", HOSTS)
def test_hosts(domain: str) -> None:
    hosts = find(domain)
    assert isinstance(hosts, tuple)
    assert [(host.name, " ".join(host.addresses)) for host in hosts] == HOSTS[domain]


LOOPS = (
    US,
    f"[{OUR_ADDRESS}]",
    *(f"{one}.example" for one in ("primary", "equals", "hidden", "behind-alias")),
)
FAILED = {
    "nothing.example": (1, 2, "", "the domain nothing.example does not exist"),
    "null.example": (1, 10, "", "the domain null.example does not accept mail (null MX)"),
    "text.example": (4, 4, "", "no mail exchanger of text.example has an address"),
    "gone.example": (4, 4, "", "no mail exchanger of gone.example has an address"),
    "gone-primary.example": (4, 4, "", "no mail exchanger of gone-primary.example has an address"),
    "inside.example": (4, 4, "relay.allow_private",
                       "the mail exchangers of inside.example have no public address, only ::1"),
    "[127.0.0.1]": (4, 4, "relay.allow_private",
                    "the mail exchangers of [127.0.0.1] have no public address, only 127.0.0.1"),
    "[x:y]": (1, 2, "", "[x:y] has no IP address"),
    **{domain: (4, 6, "", f"the best mail exchanger of {domain} is this server") for domain in LOOPS},
}  # fmt: skip


@pytest.mark.parametrize("domain", FAILED)
def test_permanent_failures(domain: str) -> None:
    subject, detail, rule, text = FAILED[domain]
    assert find(domain) == outcome.Failed(Status(subject, detail), text, rule)


@pytest.mark.parametrize("domain", ["no-mx.example", "all-broken.example", "broken-primary.example"])
def test_failures_of_dns_are_temporary(domain: str) -> None:
    assert find(domain) == outcome.Deferred(Status(4, 3), str(BROKEN), unreachable=True)


def test_private_addresses_if_they_are_allowed() -> None:
    hosts = find("inside.example", allow_private=True)
    assert hosts == (MailHost("inside.example", ("::1", "127.0.0.1"), "inside.example"),)
    assert find("[127.0.0.1]", allow_private=True)[0].addresses == ("127.0.0.1",)  # type: ignore[index]


def test_equal_hosts_are_shuffled_and_the_number_of_hosts_is_bounded() -> None:
    names = [f"h{number}.example" for number in range(100)]
    records: dict[Any, Any] = {
        ("many.example", "MX"): [MX(1 + index // 5, name) for index, name in enumerate(names)]
    }
    records |= {(name, "A"): [f"1.1.1.{number}" for number in range(20)] for name in names}
    resolver, orders = FakeResolver(records), set()
    for seed in range(50):
        resolver.asked.clear()
        hosts = find("many.example", resolver, random=Random(seed))
        assert isinstance(hosts, tuple)
        assert [len(host.addresses) for host in hosts] == [MAX_ADDRESSES] * MAX_HOSTS
        assert len(resolver.asked) == 1 + 2 * MAX_HOSTS
        found = [host.name for host in hosts]
        assert [set(found[:5]), set(found[5:])] == [set(names[:5]), set(names[5:10])]
        orders.add(tuple(found))
    assert len(orders) > 40


@pytest.mark.parametrize("insecure", [None, "org.example", "a.example"])
def test_secure_needs_secure_mx_and_addresses(insecure: str | None) -> None:
    resolver = FakeResolver(ZONE)
    resolver.secure = {"org.example", "a.example", "b.example"} - {insecure or ""}
    hosts = find("org.example", resolver)
    assert isinstance(hosts, tuple)
    assert [host.secure for host in hosts] == [insecure is None, insecure != "org.example"]


def test_the_end_of_an_alias_is_known() -> None:
    assert find("mx-alias.example") == (MailHost("points.example", ("1.0.0.3",), "b.example"),)


def test_addresses_are_looked_up_at_the_same_time_and_can_be_cancelled() -> None:
    clock = Clock()
    resolver = FakeResolver(ZONE, clock)
    resolver.delays = {(name, kind): 5.0 for name in ("a.example", "b.example") for kind in ("A", "AAAA")}
    finder = MailHostFinder(
        resolver=resolver, hostname=US, random=Random(1), is_own_address=lambda address: False
    )
    results: list[Any] = []
    finder.find("org.example").addCallback(results.append)
    assert len(clock.getDelayedCalls()) == 4
    clock.advance(5)
    assert len(results[0]) == 2
    given_up = finder.find("org.example").addErrback(lambda failure: None)
    given_up.cancel()
    assert not clock.getDelayedCalls()


# RFC 6890 and the registries of IANA that it has begun, RFC 6052, RFC 3056
NOT_PUBLIC = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255
    192.0.0.1 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
    255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:1.0.0.1 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::1
    100::1 2001::1 2001:2::1 2001:db8::1 2002:7f00:1::1 2002:a00:1::1 3fff::1 fc00::1 fd00::1 fe80::1 fec0::1
    ff02::1 4000::1
"""
PUBLIC = """
    1.1.1.1 8.8.8.8 100.128.0.1 172.32.0.1 193.0.0.1 223.255.255.254 2600::1 2a00::1 64:ff9b::8.8.8.8
    2002:808:808::1
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public_addresses(address: str) -> None:
    assert is_public(address)
