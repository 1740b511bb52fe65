"""Trouble with records in DNS, DNS servers and blocklists; each alone."""

from collections.abc import Callable

import attrs
import pytest

from mailserver.app.doctor.findings import NotChecked
from mailserver.delivery.tls_policy.sts_fetch import PolicyUnavailable
from mailserver.policy.dkim.keys import key_record, make_key
from tests.support.doctor.listener import HOSTNAME
from tests.support.doctor.site import ADDRESS, LIST, POLICY, REVERSE, DoctorSite, findings, outline

Plant = Callable[[DoctorSite], object]


def replaced(name: str, kind: str, *data: str) -> Plant:
    def plant(site: DoctorSite) -> None:
        if (name, kind) in site.zone.rrsets:
            site.zone.remove(name, kind)
        site.zone.add(*(f"{name} {kind} {one}" for one in data))

    return plant


OTHER_KEY = f'"{key_record(make_key("ed25519"))}"'
DNS: list[tuple[Plant, str, str, str, str]] = [
    (replaced("example.org", "MX"), "error", "dns-mx", "example.org MX", "there is no record"),
    (replaced("example.org", "MX", "5 else.example."), "error", "dns-mx", "example.org MX", "It has: 5 else"),
    (replaced(HOSTNAME, "A"), "error", "dns-address", f"{HOSTNAME} A", "IPv4"),
    (replaced(HOSTNAME, "A", "192.0.2.1"), "error", "dns-address", f"{HOSTNAME} A", "another address"),
    (
        replaced(f"{REVERSE}.in-addr.arpa", "PTR"), "error",
        "dns-ptr", f"{REVERSE}.in-addr.arpa PTR", "without a name",
    ),
    (
        replaced(f"{REVERSE}.in-addr.arpa", "PTR", "x.example."),
        "error", "dns-ptr", f"{REVERSE}.in-addr.arpa PTR", "x.example.",
    ),
    (replaced("example.org", "TXT"), "error", "dns-spf", "example.org TXT", "doubt"),
    (replaced("example.org", "TXT", '"v=spf1 -all"'), "error", "dns-spf", "example.org TXT", '"fail"'),
    (
        replaced("s1._domainkey.example.org", "TXT"), "error",
        "dns-dkim", "s1._domainkey.example.org TXT", "no record",
    ),
    (
        replaced("s1._domainkey.example.org", "TXT", OTHER_KEY), "error",
        "dns-dkim", "s1._domainkey.example.org TXT", "not that",
    ),
    (replaced("_dmarc.example.org", "TXT"), "warning", "dns-dmarc", "_dmarc.example.org TXT", "without a"),
    (replaced("_smtp._tls.example.org", "TXT"), "notice", "dns-tls-rpt", "_smtp._tls.example.org TXT", "TLS"),
    (
        replaced("_mta-sts.example.org", "TXT", '"v=STSv1; id=a-b"'),
        "error", "dns-mta-sts", "_mta-sts.example.org TXT", "id=",
    ),
    (
        replaced(f"_25._tcp.{HOSTNAME}", "TLSA", "3 1 1 " + "00" * 32),
        "error", "dns-tlsa", f"_25._tcp.{HOSTNAME} TLSA", "no TLSA",
    ),
    (
        replaced("_submissions._tcp.example.org", "SRV"), "notice",
        "dns-srv", "_submissions._tcp.example.org SRV", "guess",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("plant", "severity", "kind", "subject", "text"), DNS)
def test_a_record(site: DoctorSite, plant: Plant, severity: str, kind: str, subject: str, text: str) -> None:
    plant(site)
    found = {one.subject: one for one in findings(site.run("DNS"))}
    assert subject in found
    assert (found[subject].severity, found[subject].kind) == (severity, kind)
    assert text in found[subject].text
    # these depend on MX and on the address
    assert set(found) - {subject} <= {"example.org TXT", f"{HOSTNAME} TXT", "_mta-sts.example.org TXT"}


def test_a_domain_without_keys(site: DoctorSite) -> None:
    site.configure("dkim = []")
    [found] = findings(site.run("DNS"))
    assert (found.severity, found.kind) == ("error", "dns-dkim")
    assert found.mend == "mailserver dkim make example.org"


def test_the_advice_for_a_name_of_an_address(site: DoctorSite) -> None:
    site.zone.remove(f"{REVERSE}.in-addr.arpa", "PTR")
    [found] = findings(site.run("DNS"))
    assert found.mend == f"let the provider of {ADDRESS} set its name to {HOSTNAME}."


def test_dns_that_does_not_answer(site: DoctorSite) -> None:
    site.zone.faults["_dmarc.example.org"] = "servfail"
    results = site.run("DNS")
    assert findings(results) == []
    assert [one.subject for one in results if isinstance(one, NotChecked)] == ["_dmarc.example.org TXT"]


def test_resolvers(site: DoctorSite) -> None:
    site.configure(f'[dns]\nservers = ["{site.zone.address}", "127.0.0.1:9"]')
    assert outline(site.run("DNS servers")) == [("warning", "resolver-silent", "DNS server 127.0.0.1:9")]
    site.configure('[dns]\nservers = ["127.0.0.1:9"]')
    assert outline(site.run("DNS servers")) == [("error", "no-resolver", "dns.servers")]
    [result] = site.run("DNS")
    assert isinstance(result, NotChecked) and "127.0.0.1:9" in result.reason


def test_resolvers_elsewhere(site: DoctorSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers(*args: object) -> None:
        return None

    monkeypatch.setattr("mailserver.app.doctor.resolvers._problem", answers)
    site.configure('[dns]\nservers = ["8.8.8.8"]\ntrust_ad = true')
    assert outline(site.run("DNS servers")) == [
        ("warning", "resolver-trusted", "dns.trust_ad"),
        ("warning", "resolver-public", "dns.servers"),
    ]


def unavailable() -> bytes:
    raise PolicyUnavailable("the host has no usable address")


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (unavailable, "cannot fetch the policy: the host has no usable address"),
        (lambda: b"version: STSv1\nmode: enforce\n", "cannot use the policy: the max_age is not a number"),
        (lambda: POLICY.replace(b"mail.", b"mx."), "has mx.example.org and not mail.example.org"),
    ],
)
def test_a_policy_of_mta_sts(site: DoctorSite, policy: Callable[[], bytes], text: str) -> None:
    site.policy = policy
    [found] = findings(site.run("MTA-STS"))
    assert (found.severity, found.kind, found.subject) == ("error", "mta-sts-policy", "mta-sts.example.org")
    assert text in found.text


def test_no_policy_is_fetched_without_a_record(site: DoctorSite) -> None:
    site.policy = unavailable
    site.zone.remove("_mta-sts.example.org", "TXT")
    assert findings(site.run("MTA-STS")) == []


SUBJECT = f"dnsbl[1] ({LIST})"
BLOCKLISTS: list[tuple[Plant, list[tuple[str, str]], str]] = [
    (replaced(f"{REVERSE}.{LIST}", "A", "127.0.0.3"), [("error", "dnsbl-listed")], f"lists {ADDRESS}"),
    (
        replaced(f"2.0.0.127.{LIST}", "A", "127.255.255.254"),
        [("warning", "dnsbl-refused")],
        "127.255.255.254",
    ),
    (replaced(f"2.0.0.127.{LIST}", "A"), [("warning", "dnsbl-dead")], "127.0.0.2"),
    (replaced(f"1.0.0.127.{LIST}", "A", "127.0.0.2"), [("error", "dnsbl-lists-all")], "every address"),
    (replaced(f"{REVERSE}.{LIST}", "A", "127.0.0.200"), [], ""),
]


@pytest.mark.parametrize(("plant", "expected", "text"), BLOCKLISTS)
def test_a_blocklist(site: DoctorSite, plant: Plant, expected: list[tuple[str, str]], text: str) -> None:
    plant(site)
    found = findings(site.run("blocklists"))
    assert [(one.severity, one.kind) for one in found] == expected
    assert all(one.subject == SUBJECT and text in one.text for one in found)


def test_a_blocklist_says_why(site: DoctorSite) -> None:
    site.zone.add(f"{REVERSE}.{LIST} A 127.0.0.3", f'{REVERSE}.{LIST} TXT "spam from there"')
    [found] = findings(site.run("blocklists"))
    assert found.text.endswith("(127.0.0.3): spam from there")


def test_a_blocklist_that_does_not_answer(site: DoctorSite) -> None:
    site.zone.faults[f"1.0.0.127.{LIST}"] = "servfail"
    [result] = site.run("blocklists")
    assert isinstance(result, NotChecked) and result.subject == SUBJECT


def test_without_a_public_address_that_of_dns_counts(site: DoctorSite) -> None:
    site.machine = attrs.evolve(site.machine, addresses=lambda: ("10.1.2.3",))
    site.zone.add(f"{REVERSE}.{LIST} A 127.0.0.3")
    assert outline(site.run("blocklists")) == [("error", "dnsbl-listed", SUBJECT)]
    site.zone.remove(HOSTNAME, "A")
    assert NotChecked("blocklists", "the public addresses of this server are not known") in site.run(
        "blocklists"
    )
