"""The field Authentication-Results: its form, hostile values, and forged fields."""

import re

import authres
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Address
from mailserver.policy.arc.verifier import ARCResult
from mailserver.policy.authentication_results import (
    MessageAuthentication,
    authentication_results,
    without_forged,
)
from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dmarc.evaluator import DMARCResult
from mailserver.policy.dmarc.record import DMARCRecord
from mailserver.policy.reputation.dnsbl import DnsblListing
from mailserver.policy.reputation.values import ClientReputation, ReverseName
from mailserver.policy.spf.values import SPFResult
from tests.support.reputation import zone

GOOD, BAD = zone("good.example", "accept"), zone()
HOST = "mx.example.org"
ALICE = Address("alice", "example.com")
RECORD = DMARCRecord(domain="example.com", policy="reject")
SPF, DMARC = SPFResult("pass", "example.com"), DMARCResult(result="pass", domain="example.com", record=RECORD)
DKIM = DKIMResult(
    result="pass", domain="example.com", selector="s1", identity="@example.com", algorithm="rsa-sha256",
    signature="AuUoFEfD",
)  # fmt: skip


def unfolded(field: bytes) -> str:
    assert field.endswith(b"\r\n")
    lines = field[:-2].split(b"\r\n")
    assert all(line.startswith(b"\t") and line.strip() for line in lines[1:])
    assert all(0x20 <= octet < 0x7F or octet == 9 for line in lines for octet in line)
    return " ".join(line.strip().decode() for line in lines)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (MessageAuthentication(), "none"),
        (MessageAuthentication(dkim=()), "dkim=none"),
        (
            MessageAuthentication(spf=SPF, reverse_path=ALICE, dkim=(DKIM,), dmarc=DMARC),
            "spf=pass smtp.mailfrom=alice@example.com; dkim=pass header.d=example.com header.s=s1 "
            "header.a=rsa-sha256 header.b=AuUoFEfD; dmarc=pass header.from=example.com policy.dmarc=none",
        ),
        (
            MessageAuthentication(
                spf=SPFResult("permerror", "example.com", problem="too many (10) lookups"),
                reverse_path=Address("a b", "example.com"),
                dkim=(
                    DKIMResult(result="neutral", reason="malformed tag list"),
                    DKIMResult(
                        result="pass", domain="a.example", identity="x@b.a.example", partial=True,
                        signature="a/b",
                    ),
                ),
                dmarc=DMARCResult(result="fail", domain="example.com", record=RECORD, policy="reject"),
                arc=ARCResult(result="fail", reason="no key"),
            ),
            "spf=permerror smtp.mailfrom=example.com (too many [10] lookups); dkim=neutral (malformed tag "
            "list); dkim=pass header.d=a.example header.i=x@b.a.example header.b=\"a/b\" (only a part of the "
            "body is signed); dmarc=fail header.from=example.com policy.dmarc=reject; arc=fail (no key)",
        ),
        (
            MessageAuthentication(
                spf=SPFResult("none", "client.example", problem="no record"),
                dmarc=DMARCResult(result="permerror", problem="several From fields"),
                arc=ARCResult(result="none"),
            ),
            "spf=none smtp.helo=client.example (no record); dmarc=permerror (several From fields)",
        ),
        (
            MessageAuthentication(
                dkim=(),
                ip="192.0.2.1",
                reputation=ClientReputation(
                    (DnsblListing(GOOD, ("127.0.0.2", "127.0.0.3")), DnsblListing(BAD, ("127.0.0.2",))),
                    ReverseName("pass", "mail.example;x=(y)"),
                ),
            ),
            "dkim=none; iprev=pass policy.iprev=192.0.2.1 (mail.example,x:[y]); dnswl=pass "
            "dns.zone=good.example policy.ip=127.0.0.2",
        ),
        (
            MessageAuthentication(
                ip="2001:db8::1", reputation=ClientReputation(reverse_dns=ReverseName("temperror"))
            ),
            'iprev=temperror policy.iprev="2001:db8::1"',
        ),
        (MessageAuthentication(ip="192.0.2.1", reputation=ClientReputation(helo="fail")), "none"),
        (
            MessageAuthentication(spf=SPF, reverse_path=Address("a", "[IPv6:::1]")),
            'spf=pass smtp.mailfrom="[IPv6:::1]"',
        ),
    ],
)  # fmt: skip
def test_fields(found, text):
    field = authentication_results(HOST, found)
    assert unfolded(field) == f"Authentication-Results: {HOST}; {text}"
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))
    read = authres.AuthenticationResultsHeader.parse(unfolded(field).replace(" (no key)", ""))
    assert read.authserv_id == HOST


ODD = st.text(max_size=60) | st.sampled_from(
    [
        "a\r\nBcc: x",
        "; dmarc=pass",
        '" ; spf=pass "',
        "(",
        ")",
        "\\",
        '\\"',
        "a" * 999,
        "\udcff",
        "x@y@z",
        "",
        " ",
    ]
)


@given(ODD, ODD, ODD, st.sampled_from(["", "a", "ok.example"]))
def test_no_value_can_end_its_place(domain, identity, reason, selector):
    dkim = DKIMResult(result="fail", domain=domain, identity=identity, reason=reason, selector=selector)
    found = MessageAuthentication(
        spf=SPFResult("fail", domain, problem=reason),
        reverse_path=Address(identity, domain),
        dkim=(dkim, dkim),
        dmarc=DMARCResult(result="fail", domain=domain, problem=identity),
        arc=ARCResult(result="fail", reason=reason),
    )
    text = unfolded(authentication_results(HOST, found))
    assert len(text) < 6000
    # Without what is quoted, and then without comments, the results are left.
    bare = re.sub(r"\([^()]*\)", "", re.sub(r'"(?:[^"\\]|\\.)*"', "X", text))
    assert not set('"()\\') & set(bare)
    assert re.findall(r"[;=] ?([a-z]+=[a-z]+)(?= |;|\Z)", bare.replace(f"{HOST};", ";")) == [
        "spf=fail", "dkim=fail", "dkim=fail", "dmarc=fail", "arc=fail",
    ]  # fmt: skip
    assert bare.count(";") == 5


FIELD = b"Authentication-Results"


@pytest.mark.parametrize(
    ("field", "forged"),
    [
        (b"%b: mx.example.org; spf=pass\r\n", True),
        (b"%b:mx.example.org;spf=pass\r\n", True),
        (b"%b: MX.Example.ORG 1; spf=pass\r\n", True),
        (b"%b:\r\n mx.example.org;\r\n spf=pass\r\n", True),
        (b"%b : mx.example.org; none\r\n", True),
        (b'%b: "mx.example.org"; none\r\n', True),
        (b'%b: "mx.example\\.org"; none\r\n', True),
        (b"%b: (a (nested;) comment) mx.example.org (another); none\r\n", True),
        (b"%b: (\\)) mx.example.org; none\r\n", True),
        (b"%b: x(y)mx.example.org(z)1; none\r\n", True),
        (b"%b: mx.example.org./1; none\r\n", True),
        (b"%b: mx.example.org\r\n", True),
        (b"%b: other.example mx.example.org; none\r\n", True),
        (b"%b: (unclosed ; mx.example.org\r\n", True),
        (b'%b: "unclosed ; mx.example.org\r\n', True),
        (b"%b: second.example.org; none\r\n", True),
        (b"%b: other.example; spf=pass smtp.helo=mx.example.org\r\n", False),
        (b"%b: amx.example.org; none\r\n", False),
        (b"%b: a.mx.example.org; none\r\n", False),
        (b"%b: mx.example.org.example; none\r\n", False),
        (b"%b: mx.example.organ; none\r\n", False),
        (b"%b: mxxexample.org; none\r\n", False),
        (b"ARC-%b: i=1; mx.example.org; none\r\n", False),
        (b"X-%b: mx.example.org; none\r\n", False),
        (b"Subject: mx.example.org;\r\n authentication-results: mx.example.org; x\r\n", False),
        (b"%b mx.example.org\r\n", False),
    ],
)
def test_forged_fields_are_removed(field, forged):
    own = field.replace(b"%b", FIELD)
    others = b"Received: x\r\n", b"Subject: folded\r\n y\r\n"
    head = others[0] + own + others[1] + own.swapcase().replace(b"\r\n\t", b"\r\n ")
    kept = b"".join(others) if forged else head
    assert without_forged(head, [HOST, "second.example.org"]) == kept
    assert without_forged(head, []) == head


@given(st.binary(max_size=30), st.text('mx.exampl org;()"\\\r\n\t', max_size=40))
def test_only_whole_fields_are_removed(octets, text):
    value = octets + text.encode()
    head = b"A: b\r\n" + FIELD + b": " + value + b"\r\nC: d\r\n"
    left = without_forged(head, [HOST])
    assert left.startswith(b"A: b\r\n") and left.endswith(b"C: d\r\n")
    assert without_forged(left, [HOST]) == left


@pytest.mark.parametrize(
    "value", [b"(" * 100_000, b'"' * 100_001, b"\\" * 100_000, b"a." * 100_000, b"\r\n " * 50_000]
)
def test_hostile_fields_take_no_time(value):
    head = FIELD + b": " + value + b"mx.example.org\r\n"
    assert without_forged(head * 3, [HOST]) in (b"", head * 3)
