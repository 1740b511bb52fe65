"""Certificate chains against TLSA records: the rules of RFC 7672, with certificates made for the purpose."""

from datetime import timedelta
from hashlib import sha256, sha512
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.delivery.tls_policy.dane import DANE
from mailserver.delivery.tls_policy.tlsa import check_chain, is_usable
from mailserver.dns.records import TLSA
from mailserver.errors import DNSFailure
from mailserver.mail.tls_requirement import TLSLevel
from tests.support.resolvers import FakeResolver, Question
from tests.support.tls_material import make_ca

HOST, DOMAIN = "mx.example.net", "example.org"
NAMES = (HOST, DOMAIN)
DAY = 86400.0


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def chain_of(issued) -> list[bytes]:
    return [der(one) for one in x509.load_pem_x509_certificates(issued.certificate.read_bytes())]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A root, an intermediate authority, and chains that it has signed."""
    root = make_ca(tmp_path_factory.mktemp("tlsa"))
    above = root.intermediate()
    now = above.certificate.not_valid_before_utc.timestamp() + 2 * DAY
    return SimpleNamespace(
        root=der(root.certificate),
        above=der(above.certificate),
        for_host=chain_of(above.issue(HOST)),
        for_domain=chain_of(above.issue(DOMAIN)),
        for_others=chain_of(above.issue("other.example")),
        expired=chain_of(above.issue(HOST, ends=timedelta(hours=-1))),
        foreign=chain_of(make_ca(root.folder).issue(HOST)),
        now=now,
    )


def record(usage: int, kind: tuple[int, int], of: bytes) -> TLSA:
    selector, matching = kind
    if selector == 1:
        key = x509.load_der_x509_certificate(of).public_key()
        of = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return TLSA(usage, selector, matching, {0: of, 1: sha256(of).digest(), 2: sha512(of).digest()}[matching])


KINDS = [(selector, matching) for selector in (0, 1) for matching in (0, 1, 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_usage_3_is_about_the_certificate_alone(made, kind):
    for chain in (made.for_host, made.for_others, made.expired, made.foreign):
        good = record(3, kind, chain[0])
        bad = record(3, kind, made.above)
        assert check_chain([bad, good], NAMES, made.now, chain) == ""
        assert check_chain([bad], NAMES, made.now, chain) == "no TLSA record matches the certificate"
        assert len(chain) == 1 or check_chain([good], NAMES, made.now, chain[::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_usage_2_is_about_an_authority_names_and_dates(made, kind):
    good = [record(2, kind, made.above)]
    assert check_chain(good, NAMES, made.now, made.for_host) == ""
    assert check_chain(good, NAMES, made.now, made.for_domain) == ""
    assert "other hosts than mx.example.net" in check_chain(good, NAMES, made.now, made.for_others)
    assert "expired" in check_chain(good, NAMES, made.now, made.expired)
    assert "not yet valid" in check_chain(good, NAMES, made.now - 5 * DAY, made.for_host)
    assert "no TLSA record" in check_chain([record(2, kind, made.root)], NAMES, made.now, made.foreign) or (
        kind == (0, 0)
    )
    # the authority is in the chain, and has signed nothing of it
    assert "broken" in check_chain(good, NAMES, made.now, [made.foreign[0], made.above])
    # a certificate is no authority of itself
    assert check_chain([record(2, kind, made.for_host[0])], NAMES, made.now, made.for_host[:1]) or (
        kind == (0, 0)
    )


def test_an_authority_may_be_in_the_record_alone(made):
    for above in (made.above, made.root):
        good = [record(2, (0, 0), above)]
        assert check_chain(good, NAMES, made.now, [made.for_host[0], made.above]) == ""
    assert check_chain([record(2, (0, 0), made.above)], NAMES, made.now, made.for_host[:1]) == ""
    assert check_chain([record(2, (0, 0), made.root)], NAMES, made.now, made.for_host[:1])
    assert check_chain([record(2, (0, 1), made.above)], NAMES, made.now, made.for_host[:1])


def test_either_usage_is_enough(made):
    records = [record(2, (1, 1), made.above), record(3, (1, 1), made.expired[0])]
    assert check_chain(records, NAMES, made.now, made.expired) == ""
    assert check_chain(records, NAMES, made.now, made.for_host) == ""


@pytest.mark.parametrize("chain", [[], [b""], [b"garbage"], [b"garbage", b"garbage"]])
@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize("matching", [0, 1])
def test_broken_chains(made, chain, usage, matching):
    for selector in (0, 1):
        assert check_chain([record(usage, (selector, matching), made.above)], NAMES, made.now, chain)


def test_broken_records(made):
    assert "malformed" in check_chain([TLSA(2, 0, 0, b"garbage")], NAMES, made.now, made.for_host)
    assert check_chain([TLSA(3, 0, 0, b"garbage")], NAMES, made.now, made.for_host)


@pytest.mark.parametrize(
    ("tlsa", "expected"),
    [
        (TLSA(3, 1, 1, bytes(32)), True),
        (TLSA(2, 0, 2, bytes(64)), True),
        (TLSA(3, 0, 0, b"x"), True),
        (TLSA(0, 1, 1, bytes(32)), False),
        (TLSA(1, 1, 1, bytes(32)), False),
        (TLSA(4, 1, 1, bytes(32)), False),
        (TLSA(3, 2, 1, bytes(32)), False),
        (TLSA(3, 1, 3, bytes(32)), False),
        (TLSA(3, 1, 1, bytes(31)), False),
        (TLSA(3, 1, 2, bytes(32)), False),
        (TLSA(3, 0, 0, b""), False),
    ],
)
def test_usable_records(tlsa: TLSA, expected: bool) -> None:
    assert is_usable(tlsa) is expected


# ------------------------------------------------------------ the lookup

PLACE: Question = (f"_25._tcp.{HOST}", "TLSA")
GOOD = TLSA(3, 1, 1, bytes(32))


def look_up(records, secure=(HOST, f"_25._tcp.{HOST}"), resolver=None, now=0.0):
    resolver = resolver or FakeResolver(records)
    resolver.secure |= set(secure)
    results: list[object] = []
    Deferred.fromCoroutine(DANE(resolver, lambda: now).requirement(DOMAIN, HOST)).addBoth(results.append)
    return results[0]


def test_records_of_a_host(made):
    found = record(3, (1, 1), made.for_host[0])
    unusable = TLSA(0, 0, 1, bytes(32))
    requirement, records = look_up({(HOST, "A"): ["192.0.2.1"], PLACE: [unusable, found]})
    assert (requirement.level, requirement.rule, records) == (TLSLevel.VERIFIED, "DANE", (unusable, found))
    assert requirement.check(made.for_host) == ""
    assert requirement.check(made.for_others) != ""


def test_only_unusable_records():
    requirement, _ = look_up({(HOST, "AAAA"): ["2001:db8::1"], PLACE: [TLSA(0, 0, 1, bytes(32))]})
    assert (requirement.level, requirement.check) == (TLSLevel.REQUIRED, None)


def test_insecure_answers_count_for_nothing():
    records: dict[Question, Any] = {(HOST, "A"): ["192.0.2.1"], PLACE: [GOOD]}
    assert look_up(records, secure=[HOST]) is None
    resolver = FakeResolver({**records, PLACE: DNSFailure("broken")})
    assert look_up({}, secure=[], resolver=resolver) is None  # not even asked for
    assert look_up({(HOST, "A"): ["192.0.2.1"]}) is None
    assert look_up({(HOST, "A"): ["192.0.2.1"], PLACE: []}) is None


def test_a_failure_is_temporary():
    for records in ({PLACE: DNSFailure("x"), (HOST, "A"): ["192.0.2.1"]}, {(HOST, "A"): DNSFailure("x")}):
        result = look_up(records)
        assert isinstance(result, Failure) and result.check(DNSFailure)


def test_aliases(made):
    """RFC 7672 section 2.2.2: first the end of the alias, then its own name. The one with records counts."""
    end = "real.example.net"
    at_end = (f"_25._tcp.{end}", "TLSA")
    records = {(HOST, "CNAME"): [end], (end, "A"): ["192.0.2.1"]}
    by_authority = [record(2, (0, 1), made.above)]
    requirement, _ = look_up({**records, at_end: by_authority}, secure=[HOST, at_end[0]], now=made.now)
    assert "real.example.net and example.org" in requirement.check(made.for_host)
    requirement, _ = look_up({**records, PLACE: [GOOD]})
    assert requirement.level is TLSLevel.VERIFIED
