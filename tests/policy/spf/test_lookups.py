"""SPF over a resolver: its answers, its failures, the time that it may take, and how long a result counts."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from mailserver.dns.records import MX
from mailserver.errors import DNSFailure
from mailserver.mail.address import Address
from mailserver.policy.result_cache import ResultCache
from mailserver.policy.spf.lookups import MAX_TIME, check_spf
from mailserver.policy.spf.values import SPFRequest, SPFResult
from tests.support.dns_network import FakeNetwork
from tests.support.dns_zone import DnsZone
from tests.support.resolvers import FakeResolver

SENDER = Address("user", "example.org")
ZONE = (
    'example.org TXT "v=spf1 " "mx a:odd\\\\name.example.org ptr:www.example.org '
    'include:partner.example -all exp=why.example.org"',
    'example.org TXT "another record"',
    "example.org MX 20 mx2.example.org",
    "example.org MX 10 mx1.example.org",
    "mx1.example.org A 192.0.2.1",
    "mx2.example.org CNAME mx2.partner.example",
    "mx2.partner.example A 192.0.2.2",
    "odd\\\\name.example.org A 192.0.2.3",
    "4.2.0.192.in-addr.arpa PTR www.example.org",
    "www.example.org A 192.0.2.4",
    "partner.example CNAME _spf.partner.example",
    '_spf.partner.example TXT "v=spf1 ip4:192.0.2.5 a:broken.example -all"',
    'why.example.org TXT "%{i} is not ours"',
)


def request(ip: str = "192.0.2.1", sender: Address | None = SENDER) -> SPFRequest:
    return SPFRequest(ip=ip, helo="mail.example.org", reverse_path=sender)


@pytest.mark.parametrize(
    ("ip", "expected", "mechanism"),
    [
        ("192.0.2.1", "pass", "mx"),
        ("192.0.2.2", "pass", "mx"),
        ("192.0.2.3", "pass", "a:odd\\name.example.org"),
        ("192.0.2.4", "pass", "ptr:www.example.org"),
        ("192.0.2.5", "pass", "include:partner.example"),
        ("192.0.2.6", "temperror", "a:broken.example"),
    ],
)
def test_with_a_resolver(ip, expected, mechanism) -> None:
    zone = DnsZone(*ZONE)
    zone.faults["broken.example"] = "servfail"
    network = FakeNetwork(a=zone)
    work = Deferred.fromCoroutine(check_spf(network.resolver(), network.clock, request(ip)))
    result = network.wait(work)
    assert (result.result, result.mechanism) == (expected, mechanism)
    assert ("broken.example" in result.problem) == (expected == "temperror")


def test_the_best_host_is_asked_first_and_equal_questions_once() -> None:
    resolver = FakeResolver(
        {
            ("example.org", "TXT"): [b"v=spf1 mx mx/31 a:MX1.example.org mx exists:mx1.example.org -all"],
            ("example.org", "MX"): [MX(20, "mx2.example.org"), MX(10, "mx1.example.org")],
            ("mx1.example.org", "A"): ["192.0.2.1"],
            ("mx2.example.org", "A"): ["192.0.2.2"],
        }
    )
    result = Deferred.fromCoroutine(check_spf(resolver, Clock(), request("192.0.2.9"))).result
    assert result == SPFResult("pass", "example.org", "exists:mx1.example.org")
    assert resolver.asked == [
        ("example.org", "TXT"),
        ("example.org", "MX"),
        ("mx1.example.org", "A"),
        ("mx2.example.org", "A"),
    ]


@pytest.mark.parametrize("sender", [SENDER, None], ids=["MAIL FROM", "HELO"])
def test_a_failure_of_dns_is_a_result(sender) -> None:
    domain = "mail.example.org" if sender is None else "example.org"
    resolver = FakeResolver({(domain, "TXT"): DNSFailure("SERVFAIL")})
    result = Deferred.fromCoroutine(check_spf(resolver, Clock(), request(sender=sender))).result
    assert result == SPFResult("temperror", domain, problem="SERVFAIL")


@pytest.fixture
def slow() -> tuple[Clock, FakeResolver]:
    """Each of two answers takes more than half of the time."""
    clock = Clock()
    resolver = FakeResolver({("example.org", "TXT"): [b"v=spf1 mx -all"]}, clock)
    for kind in ("TXT", "MX"):
        resolver.delays["example.org", kind] = MAX_TIME * 0.6
    return clock, resolver


def test_the_time_is_limited(slow) -> None:
    clock, resolver = slow
    work = Deferred.fromCoroutine(check_spf(resolver, clock, request(sender=Address("a", "EXAMPLE.org."))))
    clock.pump([MAX_TIME * 0.6, MAX_TIME * 0.3])
    assert not work.called
    clock.advance(MAX_TIME * 0.1)
    problem = "DNS has not answered within 20 seconds"
    assert work.result == SPFResult("temperror", "EXAMPLE.org", problem=problem)
    assert not clock.getDelayedCalls()  # the lookup was cancelled


def test_it_can_be_cancelled(slow) -> None:
    clock, resolver = slow
    work = Deferred.fromCoroutine(check_spf(resolver, clock, request()))
    ends: list[object] = []
    work.addErrback(lambda failure: ends.append(failure.type))
    work.cancel()
    assert ends == [CancelledError]
    assert not clock.getDelayedCalls()


# ------------------------------------------------------------ remembered results

TTL = 300.0  # of FakeResolver


class Sender:
    """A domain with a record that permits the client, and the results for its messages."""

    def __init__(self, record: Any = b"v=spf1 ip4:192.0.2.1 -all") -> None:
        self.clock = Clock()
        self.resolver = FakeResolver(
            {("example.org", "TXT"): record if isinstance(record, DNSFailure) else [record]}
        )
        self.known: ResultCache[SPFResult] = ResultCache(self.clock.seconds)

    def check(self, **changes: Any) -> Any:
        work = check_spf(self.resolver, self.clock, attrs.evolve(request(), **changes), MAX_TIME, self.known)
        result: Any = Deferred.fromCoroutine(work).result
        return result.result

    def results(self, **changes: Any) -> tuple[str, str]:
        """The results for two messages. Before the second one, the domain publishes that it sends no mail."""
        self.check()  # now the resolver knows the answers
        first = self.check()
        self.resolver.records["example.org", "TXT"] = [b"v=spf1 -all"]
        return first, self.check(**changes)


def test_a_result_counts_until_its_answers_expire() -> None:
    sender = Sender()
    assert sender.results() == ("pass", "pass")
    sender.clock.advance(TTL)
    assert sender.check() == "fail"


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"reverse_path": Address("another", "example.org")}, "pass"),
        ({"time": 1}, "pass"),
        ({"ip": "192.0.2.2"}, "fail"),
        ({"helo": "other.example.org"}, "fail"),
        ({"reverse_path": None, "helo": "example.org"}, "fail"),
        ({"reverse_path": Address("user", "example.net")}, "none"),
    ],
)
def test_which_messages_have_the_same_result(changes: Any, result: str) -> None:
    assert Sender().results(**changes) == ("pass", result)


@pytest.mark.parametrize(
    ("record", "is_personal"),
    [
        (b"v=spf1 a:%{d} ip4:192.0.2.1 -all", False),
        (b"v=spf1 exists:%{h}.example.org exists:%{i}.%{v}.example.org ip4:192.0.2.1 -all", False),
        (b"v=spf1 exists:%{o}.example.org ip4:192.0.2.1 -all exp=%{l}.example.org", False),
        (b"v=spf1 exists:%{l}.example.org ip4:192.0.2.1 -all", True),
        (b"v=spf1 exists:%{S1r-}.example.org ip4:192.0.2.1 -all", True),
        (b"v=spf1 ip4:192.0.2.1 exists:%{l}.example.org -all", False),
    ],
)
@pytest.mark.parametrize("local", ["user", "\xfc"])
def test_a_result_for_one_local_part_counts_for_no_other(
    record: bytes, is_personal: bool, local: str
) -> None:
    sender = Sender(record)
    changes = {"reverse_path": Address(local, "example.org")}
    assert sender.check(**changes) == sender.check(**changes) == "pass"
    sender.resolver.records["example.org", "TXT"] = [b"v=spf1 -all"]
    assert sender.check(**changes) == ("fail" if is_personal else "pass")


@pytest.mark.parametrize(("macro", "is_personal"), [("i", False), ("c", False), ("t", True), ("L", True)])
def test_an_explanation_for_one_message_counts_for_no_other(macro: str, is_personal: bool) -> None:
    sender = Sender(b"v=spf1 -all exp=why.example.org")
    sender.resolver.records["why.example.org", "TXT"] = [f"no, %{{{macro}}}".encode()]
    assert sender.check() == sender.check() == "fail"
    sender.resolver.records["example.org", "TXT"] = [b"v=spf1 +all"]
    assert sender.check() == ("pass" if is_personal else "fail")


def test_a_failure_of_dns_is_not_remembered() -> None:
    sender = Sender(DNSFailure("SERVFAIL"))
    assert [sender.check() for _ in range(2)] == ["temperror"] * 2
    sender.resolver.records["example.org", "TXT"] = [b"v=spf1 +all"]
    assert sender.check() == "pass"
