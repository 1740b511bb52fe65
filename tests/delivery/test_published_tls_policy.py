"""The requirement for a host from all sources, and the results that are counted for reports."""

import attrs
import pytest
from zope.interface.verify import verifyObject

from mailserver.delivery.interfaces import ITLSPolicy
from mailserver.delivery.smtp.configured_tls import ConfiguredTLS
from mailserver.delivery.tls_policy.dane import DANE
from mailserver.delivery.tls_policy.policy import PublishedTLSPolicy
from mailserver.delivery.tls_policy.results import MOST_DOMAINS, MOST_KINDS, TLSResults
from mailserver.delivery.tls_policy.sts_policy import STSPolicy
from mailserver.dns.records import TLSA
from mailserver.errors import DNSFailure
from mailserver.mail.daily_report import DAY
from mailserver.mail.tls_requirement import TLSLevel
from tests.support.fakes import stand_in
from tests.support.resolvers import FakeResolver

DOMAIN, HOST = "example.org", "mx.example.org"
PLACE = f"_25._tcp.{HOST}"
RECORD = TLSA(3, 1, 1, bytes(32))
ENFORCED = STSPolicy("enforce", ("*.example.org",), 100)
TESTING = attrs.evolve(ENFORCED, mode="testing")


class FakeSTS:
    """A policy for every domain."""

    def __init__(self, policy: STSPolicy | None) -> None:
        self._policy = policy

    async def policy(self, domain: str) -> STSPolicy | None:
        return self._policy


@pytest.fixture
def results():
    return TLSResults(lambda: 3.5 * DAY)


@pytest.fixture
def make(results):
    def build(policy=None, records=(), tls="opportunistic", domains=()):
        resolver = FakeResolver({(HOST, "A"): ["192.0.2.1"], (PLACE, "TLSA"): records})
        resolver.secure |= {HOST, PLACE}
        configured = ConfiguredTLS(tls, dict(domains))
        return PublishedTLSPolicy(configured, DANE(resolver, lambda: 0.0), stand_in(FakeSTS(policy)), results)

    return build


def ask(policies, *, domain=DOMAIN, host=HOST, secure=True):
    found: list[object] = []
    policies.policy_for(domain, host, secure).addBoth(found.append)
    return found[0]


@pytest.mark.parametrize(
    ("sources", "secure", "level", "rule"),
    [
        ({}, True, "opportunistic", "relay.tls"),
        ({"tls": "required"}, True, "required", "relay.tls"),
        ({"policy": ENFORCED}, True, "verified", "MTA-STS"),
        ({"policy": TESTING}, True, "opportunistic", "relay.tls"),
        ({"policy": attrs.evolve(ENFORCED, mode="none")}, True, "opportunistic", "relay.tls"),
        ({"records": [RECORD]}, True, "verified", "DANE"),
        ({"records": [RECORD]}, False, "opportunistic", "relay.tls"),
        ({"records": [TLSA(0, 0, 1, bytes(32))]}, True, "required", "DANE"),
        ({"records": [RECORD], "policy": ENFORCED}, True, "verified", "DANE"),
        ({"records": [RECORD], "policy": ENFORCED}, False, "verified", "MTA-STS"),
        ({"records": [RECORD], "policy": ENFORCED, "tls": "none"}, True, "none", "relay.tls"),
        ({"policy": ENFORCED, "domains": {DOMAIN: "required"}}, True, "required", "relay.tls_domains"),
        ({"policy": ENFORCED, "domains": {HOST: "required"}}, True, "verified", "MTA-STS"),
    ],
)
def test_requirements(make, sources, secure, level, rule):
    requirement = ask(make(**sources), secure=secure)
    assert (requirement.level, requirement.rule, requirement.refused) == (TLSLevel(level), rule, "")
    assert (requirement.check is not None) == (rule == "DANE" and level == "verified")


def test_hosts_outside_the_policy(make, results):
    assert "does not list" in ask(make(ENFORCED), host="mx.evil.example").refused
    for policy in (TESTING, attrs.evolve(ENFORCED, mode="none")):
        assert ask(make(policy), host="mx.evil.example").refused == ""
    assert taken(results) == {
        ENFORCED: (0, {("validation-failure", "mx.evil.example"): 1}),
        TESTING: (0, {("validation-failure", "mx.evil.example"): 1}),
    }


def test_literals_have_no_policy(make):
    assert ask(make(ENFORCED), domain="[192.0.2.1]", host="192.0.2.1").rule == "relay.tls"


def test_unknown_records_are_a_failure(make):
    assert ask(make(ENFORCED, DNSFailure("x"))).check(DNSFailure)


def test_the_contract(make):
    verifyObject(ITLSPolicy, make())


# ------------------------------------------------------------ results


def taken(results, day=3):
    results._now = lambda: (day + 1.0) * DAY
    days = results.take()
    assert results.take() == {}
    return {
        applied: (one.successes, dict(one.failures))
        for applied, one in days.get(day, {}).get(DOMAIN, {}).items()
    }


def test_results_by_policy(make, results):
    for sources in ({"policy": ENFORCED}, {"records": [RECORD]}, {}):
        policies = make(**sources)
        requirement = ask(policies)
        for problem in ("", "", "certificate-expired"):
            policies.connected(DOMAIN, HOST, requirement, problem)
    expected = (2, {("certificate-expired", HOST): 1})
    assert taken(results) == {ENFORCED: expected, (RECORD,): expected, None: expected}


def test_what_the_administrator_has_decided_is_not_counted(make, results):
    policies = make(domains={DOMAIN: "none"})
    policies.connected(DOMAIN, HOST, ask(policies), "")
    assert taken(results) == {}


def test_without_reports(make, results):
    results.enabled = False
    policies = make(ENFORCED)
    policies.connected(DOMAIN, HOST, ask(policies, host="mx.evil.example"), "")
    assert taken(results) == {}


def test_days(results):
    for day in (2, 3, 3.9, 4):
        results._now = lambda day=day: day * DAY
        results.count(DOMAIN, None, HOST, "")
    results._now = lambda: 4.1 * DAY
    assert [(day, domains[DOMAIN][None].successes) for day, domains in results.take().items()] == [
        (2, 1),
        (3, 2),
    ]
    results._now = lambda: 5.0 * DAY
    assert list(results.take()) == [4]


def test_bounds(results):
    for number in range(MOST_KINDS + 1):
        results.count(DOMAIN, None, HOST, f"problem {number}")
        results.count(DOMAIN, (TLSA(number, 0, 0, b""),), HOST, "")
    results.count(DOMAIN, None, HOST, "problem 0")
    results.count(DOMAIN, None, HOST, "")
    for number in range(MOST_DOMAINS + 1):
        results.count(f"{number}.example", None, HOST, "")
    results._now = lambda: 4.0 * DAY
    domains = results.take()[3]
    assert len(domains) == MOST_DOMAINS
    assert len(domains[DOMAIN]) == MOST_KINDS
    assert len(domains[DOMAIN][None].failures) == MOST_KINDS
    assert domains[DOMAIN][None].failures["problem 0", HOST] == 2
    assert domains[DOMAIN][None].successes == 1
