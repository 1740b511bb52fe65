"""Hostile answers of DNS about the domain of a recipient: bounded, temporary or rejected, and never a way to
the inside of the network."""

from collections.abc import Iterator
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from mailserver.config.keys.dns import DnsSection
from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.dns import resolver as resolver_module
from mailserver.dns.mail_hosts import MAX_HOSTS, FoundHosts, MailHostFinder
from mailserver.dns.resolver import Resolver
from mailserver.mail import outcome
from tests.support.dns_zone import DnsZone, many_mx
from tests.support.fakes import stand_in
from tests.support.real_reactor import RealReactor, real_reactor
from tests.support.runs import rest_slow

US, OUR_ADDRESS = "us.example", "1.0.0.99"
INSIDE = (
    "127.0.0.1 10.0.0.1 192.168.1.1 172.16.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255"
)
INSIDE6 = (
    "::1 :: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 fe80::1 fd00::1 ff02::1 64:ff9b::7f00:1 2002:a00:1::"
)


@pytest.fixture
def reactor() -> Iterator[RealReactor]:
    with real_reactor() as reactor:
        yield reactor


@pytest.fixture
def zone() -> Iterator[DnsZone]:
    with DnsZone(f"{US} A {OUR_ADDRESS}", "good.example A 1.0.0.1") as zone:
        yield zone


def find(reactor: RealReactor, zone: DnsZone, domain: str) -> FoundHosts:
    section = DnsSection(servers=(DnsServer(ip_address("127.0.0.1"), zone.port),), trust_ad=None)
    resolver = Resolver(section, stand_in(reactor))
    finder = MailHostFinder(
        resolver=resolver, hostname=US, random=Random(1), is_own_address={OUR_ADDRESS}.__contains__
    )
    found: FoundHosts = reactor.wait(finder.find(domain))
    return found


def addresses(found: FoundHosts) -> set[str]:
    assert isinstance(found, tuple), found
    return {address for host in found for address in host.addresses}


def test_forged_replies_are_not_believed(reactor: RealReactor, zone: DnsZone, monkeypatch: Any) -> None:
    monkeypatch.setattr(resolver_module, "ROUNDS", (10.0,))
    for fault in ("forged", "many wrong ids", "wrong question", "garbage", "truncated"):
        zone.faults["good.example"] = fault
        assert addresses(find(reactor, zone, "good.example")) == {"1.0.0.1"}, fault
    monkeypatch.setattr(resolver_module, "ROUNDS", (0.2,))
    for fault in ("wrong id", "wrong source", "truncated, then closed", "garbage everywhere"):
        zone.faults["good.example"] = fault  # type: ignore[assignment]
        found = find(reactor, zone, "good.example")
        assert isinstance(found, outcome.Deferred) and found.unreachable, fault


@pytest.mark.parametrize("aliases", [1, 2, 50])
def test_aliases_that_loop(reactor: RealReactor, zone: DnsZone, aliases: int) -> None:
    zone.add(*(f"n{one}.example CNAME n{(one + 1) % aliases}.example" for one in range(aliases)))
    zone.add("to-loop.example MX 1 n0.example")
    for domain in ("n0.example", "to-loop.example"):
        assert isinstance(find(reactor, zone, domain), outcome.Deferred)
    assert len(zone.asked) < 20
    zone.faults |= {f"n{one}.example": "not followed" for one in range(aliases)}
    assert isinstance(find(reactor, zone, "n0.example"), outcome.Deferred)
    assert len(zone.asked) < 40


@pytest.mark.parametrize("count", rest_slow([150, 1000, 10_000], first=2))
def test_many_mx(reactor: RealReactor, zone: DnsZone, count: int, monkeypatch: Any) -> None:
    """Of 150 some are tried; a message with more than 200 records is rejected as a whole."""
    monkeypatch.setattr(resolver_module, "ROUNDS", (10.0,))
    zone.add(*many_mx("many.example", count))
    zone.add(*(f"mx{number}.many.example A 1.1.{number}.1" for number in range(min(count, 200))))
    found = find(reactor, zone, "many.example")
    if count < 200:
        assert addresses(found) == {f"1.1.{number}.1" for number in range(MAX_HOSTS)}
    else:
        assert isinstance(found, outcome.Deferred)
    assert len(zone.asked) <= 2 + 2 * MAX_HOSTS


def test_no_way_to_the_inside(reactor: RealReactor, zone: DnsZone) -> None:
    inside = [(address, "A") for address in INSIDE.split()] + [
        (address, "AAAA") for address in INSIDE6.split()
    ]
    for number, (address, kind) in enumerate(inside):
        zone.add(f"host{number}.example {kind} {address}", f"mx{number}.example MX 1 host{number}.example")
        for domain in (f"host{number}.example", f"mx{number}.example"):
            found = find(reactor, zone, domain)
            assert isinstance(found, outcome.Failed) and found.rule == "relay.allow_private", (domain, found)
        zone.add(f"all.example {kind} {address}")
    zone.add("all.example A 1.0.0.5")
    assert addresses(find(reactor, zone, "all.example")) == {"1.0.0.5"}


@pytest.mark.parametrize("way", ["name", "name in capitals", "alias", "address", "all equal"])
def test_an_mx_that_is_this_server(reactor: RealReactor, zone: DnsZone, way: str) -> None:
    zone.add("also.example CNAME us.example", f"hidden.example A {OUR_ADDRESS}")
    host = {"name": US, "name in capitals": US.upper(), "alias": "also.example", "address": "hidden.example"}
    zone.add(f"loop.example MX 10 {host.get(way, US)}", "loop.example MX 20 good.example")
    if way == "all equal":
        zone.add("loop.example MX 10 good.example")
    found = find(reactor, zone, "loop.example")
    assert isinstance(found, outcome.Failed) and (found.status.subject, found.status.detail) == (4, 6)


@pytest.mark.parametrize("label", [r"\013\010Bcc:", r"\000", r"a\032b", r"\255\254", r"<script>", r"\"\\"])
def test_names_of_any_octets_stay_on_one_line(reactor: RealReactor, zone: DnsZone, label: str) -> None:
    zone.add(
        f"odd.example MX 1 {label}.example",
        f"{label}.example A 127.0.0.1",
        f"public.example MX 1 {label}.test",
    )
    zone.add(f"{label}.test A 1.0.0.7")
    found = find(reactor, zone, "odd.example")
    assert isinstance(found, outcome.Failed) and found.text.isprintable()
    [host] = find(reactor, zone, "public.example")  # type: ignore[misc]
    assert host.addresses == ("1.0.0.7",) and host.name.isprintable() and host.name.isascii()
