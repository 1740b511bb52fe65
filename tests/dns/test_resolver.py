"""The resolver with DNS servers and a clock of the test: answers, failures, aliases, cache, trust."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from mailserver.dns.cache import AnswerCache
from mailserver.dns.records import MX, SRV, TLSA, RecordKind
from mailserver.dns.resolver import MAX_ALIASES, MAX_TIME, Resolver
from tests.support.dns_network import FakeNetwork
from tests.support.dns_zone import NEGATIVE_TTL, TTL, DnsZone, Fault

RECORDS = (
    "example.org MX 20 mx2.example.org",
    "example.org MX 10 MX1.Example.org",
    "mx1.example.org A 192.0.2.1",
    "mx1.example.org AAAA 2001:0db8:0::1",
    'example.org TXT "v=spf1 " "-all"',
    'example.org TXT "\\255"',
    "1.2.0.192.in-addr.arpa PTR mx1.example.org",
    "_25._tcp.mx1.example.org TLSA 3 1 1 " + "00ff" * 16,
    "_pop3s._tcp.example.org SRV 0 1 995 Mail.example.org",
    "www.example.org CNAME web.example.org",
    "web.example.org 60 CNAME example.org",
    "null.example MX 0 .",
    "odd.example PTR a\\.b\\032c\\200.example",
)

ANSWERS: list[tuple[str, RecordKind, set[Any]]] = [
    ("example.org", "MX", {MX(10, "mx1.example.org"), MX(20, "mx2.example.org")}),
    ("EXAMPLE.org.", "MX", {MX(10, "mx1.example.org"), MX(20, "mx2.example.org")}),
    ("mx1.example.org", "A", {"192.0.2.1"}),
    ("mx1.example.org", "AAAA", {"2001:db8::1"}),
    ("example.org", "TXT", {b"v=spf1 -all", b"\xff"}),
    ("1.2.0.192.in-addr.arpa", "PTR", {"mx1.example.org"}),
    ("_25._tcp.mx1.example.org", "TLSA", {TLSA(3, 1, 1, b"\0\xff" * 16)}),
    ("_pop3s._tcp.example.org", "SRV", {SRV(0, 1, 995, "mail.example.org")}),
    ("www.example.org", "CNAME", {"web.example.org"}),
    ("www.example.org", "TXT", {b"v=spf1 -all", b"\xff"}),
    ("null.example", "MX", {MX(0, ".")}),
    ("odd.example", "PTR", {"a\\.b\\032c\\200.example"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "records"), ANSWERS)
def test_answers(name: str, kind: RecordKind, records: set[Any]) -> None:
    network = FakeNetwork(a=DnsZone(*RECORDS))
    answer = network.answer(network.resolver(), name, kind)
    assert (answer.name, answer.kind, answer.exists) == (name.lower().removesuffix("."), kind, True)
    assert set(answer.records) == records and len(answer.records) == len(records)


@pytest.mark.parametrize(
    ("name", "exists"),
    [("mx2.example.org", False), ("mx1.example.org", True), ("org", True), ("no.example", False)]
    + [(name, False) for name in ("a..b", "a" * 64, "a." * 128 + "b", "ü.example", "")],
)  # fmt: skip
def test_a_name_without_such_records_is_an_answer(name: str, exists: bool) -> None:
    network = FakeNetwork(a=DnsZone(*RECORDS))
    answer = network.answer(network.resolver(), name, "MX")
    assert (answer.exists, answer.records) == (exists, ())


def test_names_in_replies_are_text_that_can_be_asked_again() -> None:
    network = FakeNetwork(
        a=DnsZone("odd.example MX 1 a\\.b\\032\\200.example", "a\\.b\\032\\200.example A 192.0.2.9")
    )
    resolver = network.resolver()
    [mx] = network.answer(resolver, "odd.example", "MX").records
    assert network.answer(resolver, mx.host, "A").records == ("192.0.2.9",)


FAILURES: list[tuple[Fault, str]] = [
    ("servfail", "127.0.0.1 answered SERVFAIL"),
    ("refused", "127.0.0.1 answered REFUSED"),
    ("formerr", "127.0.0.1 answered FORMERR"),
    ("silence", "127.0.0.1 did not reply within 8 seconds"),
    ("garbage everywhere", "127.0.0.1 sent an invalid reply: it is no reply to a query"),
    ("wrong question everywhere", "127.0.0.1 sent an invalid reply: it answers another question"),
]


@pytest.mark.parametrize(("fault", "reason"), FAILURES)
def test_failures_are_temporary_and_another_server_is_asked(fault: Fault, reason: str) -> None:
    broken, sound = DnsZone(*RECORDS), DnsZone(*RECORDS)
    broken.faults["mx1.example.org"] = fault
    network = FakeNetwork(a=broken)
    resolver = network.resolver()
    failed = f"DNS lookup of mx1.example.org (A) failed: {reason}"
    assert network.failure(resolver, "mx1.example.org", "A") == failed
    del broken.faults["mx1.example.org"]
    assert network.answer(resolver, "mx1.example.org", "A").records, "failures are not cached"
    broken.faults["mx1.example.org"] = fault
    network = FakeNetwork(a=broken, b=sound)
    assert network.answer(network.resolver(), "mx1.example.org", "A").records == ("192.0.2.1",)
    assert [server for server, _ in network.asked] == ["127.0.0.1", "127.0.0.2"]


def test_rounds() -> None:
    """Each silent server is asked three times, for longer each time; one that has answered only once."""
    zones = [DnsZone() for _ in range(3)]
    for zone, fault in zip(zones, ("silence", "servfail", "silence"), strict=True):
        zone.faults["x.example"] = fault  # type: ignore[assignment]
    network = FakeNetwork(a=zones[0], b=zones[1], c=zones[2])
    text = network.failure(network.resolver(), "x.example", "A")
    assert text.count("127.0.0.") == 3 and "127.0.0.2 answered SERVFAIL" in text
    asked = [(f"127.0.0.{number}", seconds) for number, seconds in
             [(1, 2), (2, 2), (3, 2), (1, 4), (3, 4), (1, 8), (3, 8)]]  # fmt: skip
    assert network.asked == asked


def test_a_lookup_ends_in_time() -> None:
    zones = {name: DnsZone() for name in "abcdefgh"}
    for zone in zones.values():
        zone.faults["x.example"] = "silence"
    network = FakeNetwork(**zones)
    text = network.failure(network.resolver(), "x.example", "A")
    assert text == "DNS lookup of x.example (A) failed: no answer within 40 seconds"
    assert network.clock.seconds() == MAX_TIME


def test_a_silent_server_is_asked_last_from_then_on() -> None:
    silent, sound = DnsZone(), DnsZone(*RECORDS)
    silent.faults["example.org"] = "silence"
    network = FakeNetwork(a=silent, b=sound)
    resolver = network.resolver()
    assert network.answer(resolver, "example.org", "MX").records
    assert network.answer(resolver, "example.org", "TXT").records
    assert [server for server, _ in network.asked] == ["127.0.0.1", "127.0.0.2", "127.0.0.2"]


def chain(length: int) -> list[str]:
    aliases = [f"n{number}.example {number + 7} CNAME n{number + 1}.example" for number in range(length)]
    return [*aliases, f"n{length}.example 30 A 192.0.2.1"]


@pytest.mark.parametrize("followed", [True, False], ids=["by the server", "by the resolver"])
def test_aliases(followed: bool) -> None:
    zone = DnsZone(
        *chain(MAX_ALIASES + 1),
        "loop.example CNAME pool.example",
        "pool.example CNAME loop.example",
        "self.example CNAME self.example",
        "dangling.example CNAME nothing.example",
        "other.example CNAME n5.example",
    )
    names = {name for name, _ in zone.rrsets} if not followed else ()
    zone.faults |= dict.fromkeys(names, "not followed")
    network = FakeNetwork(a=zone)
    resolver = network.resolver()
    answer = network.answer(resolver, "n1.example", "A")
    assert answer.records == ("192.0.2.1",) and answer.canonical == f"n{MAX_ALIASES + 1}.example"
    assert (answer.name, answer.ttl) == ("n1.example", 8)
    for name in ("n0.example", "loop.example", "self.example"):
        text = f"DNS lookup of {name} (A) failed: it has more than {MAX_ALIASES} aliases (CNAME)"
        assert network.failure(resolver, name, "A") == text
    answer = network.answer(resolver, "dangling.example", "A")
    assert not answer.exists and answer.canonical == "nothing.example"
    answer = network.answer(resolver, "other.example", "AAAA")
    assert answer.exists and not answer.records and answer.canonical == f"n{MAX_ALIASES + 1}.example"


def count(network: FakeNetwork, resolver: Resolver, name: str, kind: RecordKind) -> int:
    """How many queries a lookup needs."""
    before = len(network.asked)
    network.answer(resolver, name, kind)
    return len(network.asked) - before


@pytest.mark.parametrize(
    ("record", "name", "ttl"),
    [
        ("a.example A 192.0.2.1", "a.example", TTL),
        ("a.example 7 A 192.0.2.1", "a.example", 7),
        ("a.example 0 A 192.0.2.1", "a.example", 0),
        ("alias.example 9 CNAME a.example", "alias.example", 9),
        ("alias.example 900 CNAME a.example", "alias.example", TTL),
        ("alias.example 9 CNAME nothing.example", "alias.example", 9),
        ("a.example 4294967295 A 192.0.2.1", "a.example", 0),
        ("a.example 2147483647 A 192.0.2.1", "a.example", 86400),
        ("a.example AAAA ::1", "a.example", NEGATIVE_TTL),
        ("a.example A 192.0.2.1", "b.example", NEGATIVE_TTL),
    ],
)
def test_the_cache_keeps_an_answer_for_its_time_to_live(record: str, name: str, ttl: float) -> None:
    network = FakeNetwork(a=DnsZone(record, *(["a.example A 192.0.2.1"] if "CNAME" in record else [])))
    resolver = network.resolver()
    assert network.answer(resolver, name, "A").ttl == ttl
    if ttl:
        network.clock.advance(ttl - 1)
        assert count(network, resolver, name.upper(), "A") == 0
        assert network.answer(resolver, name, "A").ttl == 1
        network.clock.advance(1)
    assert count(network, resolver, name, "A") == 1


def test_large_answers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three answers of 40,000 octets are more than the cache may hold here."""
    monkeypatch.setattr(AnswerCache.__init__, "__defaults__", (100_000,))
    names = [f"n{number}.example" for number in range(3)]
    text = " ".join(['"' + "x" * 250 + '"'] * 160)
    network = FakeNetwork(a=DnsZone(*(f"{name} 3000 TXT {text}" for name in names)))
    resolver = network.resolver()
    for name in names:
        network.answer(resolver, name, "TXT")
    assert [count(network, resolver, name, "TXT") for name in (names[-1], names[0])] == [0, 1]


def test_a_negative_answer_without_soa_is_not_cached() -> None:
    zone = DnsZone("a.example A 192.0.2.1")
    zone.faults["b.example"] = "nxdomain"
    network = FakeNetwork(a=zone)
    resolver = network.resolver()
    assert [count(network, resolver, "b.example", "A") for _ in range(2)] == [1, 1]


def test_the_same_question_is_asked_once_at_a_time() -> None:
    slow, network = DnsZone(*RECORDS), FakeNetwork(a=DnsZone(), b=DnsZone(*RECORDS))
    network.zones["127.0.0.1"].faults["example.org"] = "silence"
    resolver = network.resolver()
    lookups = [resolver.lookup(name, "MX") for name in ("example.org", "Example.org.")]
    other = resolver.lookup("example.org", "TXT")
    assert len(network.asked) == 2
    lookups[0].cancel()
    lookups[0].addErrback(lambda failure: failure.trap(CancelledError))
    assert network.wait(lookups[1]).records and network.wait(other).records
    assert len(network.asked) == 4 and not slow.asked
    alone = resolver.lookup("mx1.example.org", "A")
    alone.addErrback(lambda failure: failure.trap(CancelledError))
    alone.cancel()
    assert not network.clock.getDelayedCalls(), "a lookup that nobody waits for ends"


@pytest.mark.parametrize(
    ("trust_ad", "servers", "flag", "secure"),
    [
        (True, "127.0.0.1", True, True),
        (True, "192.0.2.53", True, True),
        (True, "127.0.0.1", False, False),
        (False, "127.0.0.1", True, False),
        (None, "127.0.0.1", True, True),
        (None, "::1", True, True),
        (None, "192.0.2.53", True, False),
        (None, "127.0.0.1 192.0.2.53", True, False),
    ],
)
def test_secure_answers(tmp_path: Any, trust_ad: bool | None, servers: str, flag: bool, secure: bool) -> None:
    zone, resolv_conf = DnsZone(*RECORDS), tmp_path / "resolv.conf"
    zone.secure = {"example.org", "web.example.org"} if flag else set()
    resolv_conf.write_text("".join(f"nameserver {server}\n" for server in servers.split()))
    network = FakeNetwork()
    network.zones = dict.fromkeys(servers.split(), zone)
    resolver = network.resolver(trust_ad, resolv_conf)
    assert network.answer(resolver, "example.org", "MX").secure is secure
    assert network.answer(resolver, "example.org", "MX").secure is secure, "from the cache, too"
    assert network.answer(resolver, "example.org", "A").secure is secure, "no data, too"
    zone.faults["web.example.org"] = "not followed"
    assert network.answer(resolver, "web.example.org", "TXT").secure is secure
    zone.secure.discard("web.example.org")
    zone.remove("example.org", "TXT")
    assert network.answer(resolver, "web.example.org", "MX").secure is False, "each step must be secure"


def test_many_lookups_share_a_bounded_number_of_sockets() -> None:
    zone = DnsZone(*(f"n{number}.example A 192.0.2.1" for number in range(400)))
    zone.faults |= {f"n{number}.example": "silence" for number in range(250)}
    network = FakeNetwork(a=zone)
    resolver = network.resolver()
    found: list[Deferred[Any]] = [resolver.lookup(f"n{number}.example", "A") for number in range(400)]
    assert len(network.asked) == 200
    for one in found:
        one.addErrback(lambda failure: None)
    network.clock.pump([1] * 100)
    assert len([one for one in found if one.called]) == 400
