"""The records of a domain, compared with what DNS has: each right, missing, different and malformed."""

from datetime import timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from mailserver.commands.zone.lookups import host_addresses, look_up
from mailserver.commands.zone.published import PublishedRecords, RecordReport, RecordStatus
from mailserver.commands.zone.setup import ClientService, DomainSetup
from mailserver.commands.zone.wanted import sts_policy_file, wanted_records
from mailserver.delivery.tls_policy.sts_policy import parse_policy
from mailserver.dns.records import DNSAnswer, RecordKind
from mailserver.net.made_certificate import make_certificate
from mailserver.policy.dkim.keys import key_record, make_key
from mailserver.policy.spf.values import SPFResult
from tests.support.dns_network import FakeNetwork
from tests.support.dns_zone import DnsZone, Fault

NOW = 1_800_000_000.0
DOMAIN, HOST = "example.org", "mail.example.org"
CERTIFICATE, OTHER = (
    x509.load_pem_x509_certificate(make_certificate([HOST], NOW).certificate).public_bytes(Encoding.DER)
    for _ in range(2)
)
KEY, OTHER_KEY, RSA_KEY = make_key("ed25519"), make_key("ed25519"), make_key("rsa")
SETUP = DomainSetup(
    domain=DOMAIN,
    hostname=HOST,
    addresses=("192.0.2.25", "2001:db8::25"),
    keys=(("s1", DOMAIN, KEY), ("s2", DOMAIN, RSA_KEY)),
    chain=(CERTIFICATE,),
    services=(ClientService("_submissions._tcp", 465), ClientService("_pop3s._tcp", 995)),
)
MX, A, AAAA, TXT = f"{DOMAIN} MX", f"{HOST} A", f"{HOST} AAAA", f"{DOMAIN} TXT"
PTR = "25.2.0.192.in-addr.arpa PTR"
HELO, DKIM, DMARC = f"{HOST} TXT", f"s1._domainkey.{DOMAIN} TXT", f"_dmarc.{DOMAIN} TXT"
STS, STS_HOST, RPT = f"_mta-sts.{DOMAIN} TXT", f"mta-sts.{DOMAIN} CNAME", f"_smtp._tls.{DOMAIN} TXT"
SRV, TLSA, AUTOCONFIG = (
    f"_submissions._tcp.{DOMAIN} SRV",
    f"_25._tcp.{HOST} TLSA",
    f"autoconfig.{DOMAIN} CNAME",
)
RECORD = key_record(KEY)


def published(setup: DomainSetup = SETUP) -> DnsZone:
    """A zone with all wanted records."""
    zone = DnsZone()
    for one in wanted_records(setup, NOW):
        zone.add(f"{one.name} {one.kind} {one.data}")
    return zone


def reports(zone: DnsZone, setup: DomainSetup = SETUP) -> dict[str, RecordReport]:
    network = FakeNetwork(a=zone)
    work = look_up(network.resolver(), network.clock, wanted_records(setup, NOW))
    found = network.wait(Deferred.fromCoroutine(work))
    return {f"{one.record.name} {one.record.kind}": one for one in found}


def replace(zone: DnsZone, record: str, data: tuple[str, ...]) -> None:
    name, kind = record.split()
    if (name, kind) in zone.rrsets:
        zone.remove(name, kind)
    zone.add(*(line if "  " in line else f"{record} {line}" for line in data))


def test_a_domain_with_all_records_is_right() -> None:
    zone = published()
    zone.secure.add(f"_25._tcp.{HOST}")
    found = reports(zone)
    assert {name: one.state.status for name, one in found.items()} == dict.fromkeys(found, "right")
    assert len(found) == 17
    assert not any(one.is_problem for one in found.values())
    assert found[TLSA].state.effect == ""


def test_a_domain_without_records_misses_all() -> None:
    found = reports(DnsZone())
    assert {one.state.status for one in found.values()} == {"missing"}
    assert all(one.state.effect for one in found.values() if one.record.kind != "TLSA")
    optional = {name for name, one in found.items() if not one.is_problem}
    assert optional == {STS, STS_HOST, TLSA, AUTOCONFIG}
    assert "without DNSSEC" in found[TLSA].state.effect


CASES: list[tuple[str, tuple[str, ...], RecordStatus, str]] = [
    (MX, ("10 other.example.net.",), "different", "Mail goes to other servers"),
    (MX, ("0 .",), "different", "accepts no mail"),
    (MX, ("5 other.example.net.", "10 mail.example.org."), "different", "goes to another server first"),
    (MX, ("10 mail.example.org.", "20 backup.example.net."), "right", "There are more servers"),
    (A, (), "missing", "IPv4"),
    (A, ("192.0.2.26",), "different", "another address"),
    (A, ("192.0.2.25", "192.0.2.99"), "right", "192.0.2.99, too"),
    (A, (f"{HOST}  CNAME web.{DOMAIN}.", f"web.{DOMAIN}  A 192.0.2.25"), "different", "must not be an alias"),
    (AAAA, (), "missing", "IPv6"),
    (PTR, (), "missing", "an address without a name"),
    (PTR, ("host-25.provider.example.",), "different", "mail.example.org, the name in EHLO"),
    (PTR, ("host-25.provider.example.", "mail.example.org."), "right", ""),
    (TXT, ('"v=spf1 ip4:192.0.2.25 ip6:2001:db8::/32 -all"',), "right", ""),
    (TXT, ('"other text"', '"v=spf1 mx -all"'), "right", ""),
    (TXT, ('"other text"',), "missing", "doubt both"),
    (TXT, ('"v=spf1 mx -all"', '"v=spf1 a -all"'), "different", "none of several"),
    (TXT, ('"v=spf1 ip4:192.0.2.26 -all"',), "different", 'from 192.0.2.25 has the result "fail" (-all)'),
    (TXT, ('"v=spf1 ip4:192.0.2.25 ~all"',), "different", 'from 2001:db8::25 has the result "softfail"'),
    (TXT, ('"v=spf1 include:no.example -all"',), "different", "permerror"),
    (TXT, ('"v=spf1 ip4:192.0.2.256 -all"',), "different", "malformed"),
    (TXT, ('"v=spf1 +all"',), "different", "everybody"),
    (HELO, ('"v=spf1 -all"',), "different", '"fail"'),
    (DKIM, (f'"{key_record(OTHER_KEY)}"',), "different", "not that of the configuration"),
    (DKIM, (f'"{RECORD.replace("v=DKIM1; ", "")}"',), "right", ""),
    (DKIM, (f'"{RECORD}; t=y"',), "right", "only test"),
    (DKIM, ('"v=DKIM1; k=ed25519; p="',), "different", "revoked"),
    (DKIM, ('"v=DKIM1; k=ed25519; p=%%%"',), "different", "malformed"),
    (DKIM, (f'"{key_record(RSA_KEY)[:250]}"',), "different", "another algorithm"),
    (DKIM, (f'"{RECORD}"', '"text"'), "different", "Several records"),
    (DMARC, ('"v=DMARC1; p=reject; rua=mailto:a@b.example"',), "right", ""),
    (DMARC, ('"v=DMARC1;p=none;pct=50"',), "right", "pct= has no effect"),
    (DMARC, ('"v=DMARC1; p=reject"',), "right", "nobody sends reports"),
    (DMARC, ('"v=DMARC1; p=reject; t=y"',), "right", "not to apply"),
    (DMARC, ('"v=DMARC1; p=refuse; rua=mailto:a@b.example"',), "different", "no valid p="),
    (DMARC, ('"v=DMARC1"',), "different", "no valid p="),
    (DMARC, ('"v=dmarc2; p=none"',), "missing", "without a policy"),
    (DMARC, ('"v=DMARC1; p=none"', '"v=DMARC1; p=reject"'), "different", "Several"),
    (DMARC, ('_dmarc.org  TXT "v=DMARC1; p=reject; sp=quarantine"',), "right", "of org applies: quarantine"),
    (DMARC, ('_dmarc.org  TXT "v=DMARC1; p=reject; psd=y"',), "missing", "without a policy"),
    (STS, ('"v=STSv1; id=1"',), "right", "does not fetch"),
    (STS, ('"v=STSv1; id=a-b"',), "different", "no valid id="),
    (STS, ('"v=STSv1; id=1"', '"v=STSv1; id=2"'), "different", "Several"),
    (STS_HOST, ("web.example.org.", "web.example.org  A 192.0.2.80"), "right", "another server"),
    (RPT, ('"v=TLSRPTv1; rua=https://reports.example/"',), "right", ""),
    (RPT, ('"v=TLSRPTv1; rua=nobody"',), "different", "no valid rua="),
    (RPT, ('"v=TLSRPTv1; rua=mailto:a@b.c"', '"v=TLSRPTv1; rua=mailto:d@b.c"'), "different", "Several"),
    (SRV, ("0 1 587 mail.example.org.",), "different", "another server or port"),
    (SRV, ("0 0 0 .",), "different", "another server or port"),
    (SRV, ("0 1 465 mail.example.org.", "9 1 465 old.example.org."), "right", ""),
    (TLSA, ("3 1 1 " + "00" * 32,), "different", "send nothing here: no TLSA record matches"),
    (TLSA, ("0 1 1 " + "00" * 32,), "different", "do not check"),
    (TLSA, (f"3 0 0 {CERTIFICATE.hex()}", "3 1 1 " + "00" * 32), "right", "no effect"),
    (AUTOCONFIG, ("nowhere.example.org.",), "missing", "elsewhere"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "data", "status", "effect"), CASES)
def test_a_record(record: str, data: tuple[str, ...], status: RecordStatus, effect: str) -> None:
    zone = published()
    replace(zone, record, data)
    state = reports(zone)[record].state
    assert state.status == status, state
    assert effect in state.effect
    assert bool(state.effect) >= bool(effect)
    assert bool(state.there) or status != "different"


_BEGINNINGS = [b"", b"v=spf1 ", b"v=DMARC1;", b"v=DKIM1; k=ed25519;", b"v=STSv1;", b"v=TLSRPTv1;"]


@given(st.lists(st.builds(bytes.__add__, st.sampled_from(_BEGINNINGS), st.binary(max_size=40)), max_size=2))
def test_any_text_is_compared(texts: list[bytes]) -> None:
    for record in wanted_records(SETUP, NOW):
        if record.kind == "TXT":
            answers: dict[tuple[str, RecordKind], DNSAnswer | str] = {
                (name, kind): DNSAnswer(name, kind, tuple(texts) if kind == "TXT" else ())
                for name, kind in record.questions
            }
            results = {request: SPFResult("none", DOMAIN, problem="no record") for request in record.spf}
            state = record.state(PublishedRecords(answers, results))
            assert state.status != "unknown" and all(one.isascii() for one in state.there)


def test_the_host_of_the_policy_needs_an_address() -> None:
    zone = published()
    zone.remove(f"mta-sts.{DOMAIN}", "CNAME")
    found = reports(zone)
    assert (found[STS].state.status, found[STS_HOST].state.status) == ("different", "missing")


@pytest.mark.parametrize("fault", ["servfail", "silence"])
def test_a_lookup_that_fails_says_nothing_about_the_record(fault: Fault) -> None:
    zone = published()
    for name in (DOMAIN, f"_dmarc.{DOMAIN}", f"mta-sts.{DOMAIN}"):
        zone.faults[name] = fault
    found = reports(zone)
    unknown = {name for name, one in found.items() if one.state.status == "unknown"}
    assert unknown == {MX, TXT, DMARC, STS, STS_HOST}
    assert all("DNS lookup of" in found[name].state.effect for name in unknown)


def test_a_failure_inside_spf_says_nothing_about_the_record() -> None:
    zone = published()
    replace(zone, TXT, ('"v=spf1 a:broken.example -all"',))
    zone.faults["broken.example"] = "servfail"
    state = reports(zone)[TXT].state
    assert state.status == "unknown" and "broken.example" in state.effect


def test_without_addresses_of_its_own_those_in_dns_count() -> None:
    zone, network = published(), FakeNetwork(a=published())
    work = host_addresses(network.resolver(), network.clock, HOST)
    found = network.wait(Deferred.fromCoroutine(work))
    assert found == SETUP.addresses
    setup = attrs.evolve(SETUP, addresses=(), found=found)
    replace(zone, TXT, ('"v=spf1 ip4:192.0.2.25 -all"',))
    checked = reports(zone, setup)
    assert checked[A].state.status == "right" and "--address" in checked[A].state.effect
    assert checked[TXT].state.status == "different"
    assert PTR in checked
    nothing = attrs.evolve(SETUP, addresses=())
    checked = reports(DnsZone(), nothing)
    assert checked[A].state.status == "missing" and checked[A].record.elsewhere
    assert not any("arpa" in name for name in checked)


def test_behind_a_smarthost_its_provider_is_in_spf() -> None:
    setup = attrs.evolve(SETUP, smarthost=True)
    zone = published(setup)
    replace(zone, TXT, ('"v=spf1 ip4:198.51.100.1 -all"',))
    found = reports(zone, setup)
    assert found[TXT].state.status == "right" and "provider" in found[TXT].record.purpose
    assert HELO not in found


def test_a_domain_without_a_key_has_a_problem() -> None:
    setup = attrs.evolve(SETUP, keys=(), chain=(), services=())
    found = reports(published(SETUP), setup)
    [problem] = [one for one in found.values() if one.is_problem]
    assert "mailserver dkim make example.org" in problem.state.effect
    assert TLSA not in found and SRV not in found


def test_a_server_with_the_name_of_the_domain() -> None:
    setup = attrs.evolve(SETUP, hostname=DOMAIN)
    names = [f"{one.name} {one.kind}" for one in wanted_records(setup, NOW)]
    assert names.count(TXT) == 1 and f"_25._tcp.{DOMAIN} TLSA" in names


def test_records_in_another_zone_are_comments() -> None:
    wanted = wanted_records(attrs.evolve(SETUP, domain="example.com", addresses=("192.0.2.25",)), NOW)
    elsewhere = {f"{one.name} {one.kind}" for one in wanted if one.elsewhere}
    assert elsewhere == {A, PTR, HELO, TLSA, f"s1._domainkey.{DOMAIN} TXT", f"s2._domainkey.{DOMAIN} TXT"}
    assert all("another zone" in one.purpose for one in wanted if one.elsewhere and one.kind != "PTR")
    assert [one for one in wanted_records(SETUP, NOW) if one.elsewhere and one.kind != "PTR"] == []


def test_the_policy_file() -> None:
    file = sts_policy_file(SETUP)
    assert file.url == "https://mta-sts.example.org/.well-known/mta-sts.txt"
    policy = parse_policy(file.content.encode())
    assert (policy.mode, policy.mx, policy.max_age) == ("testing", (HOST,), timedelta(days=7).total_seconds())
    ids = {
        one.data
        for setup in (SETUP, SETUP, attrs.evolve(SETUP, hostname="mx.example.org"))
        for one in wanted_records(setup, NOW)
        if one.name == f"_mta-sts.{DOMAIN}"
    }
    assert len(ids) == 2  # a new policy has a new id
