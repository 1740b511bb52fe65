"""What aggregate reports tell about a message: alignment by both methods, and which messages count."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailserver.mail.address import Address
from mailserver.mail.verdict import AUTHENTICATION_FAILED, DIRECTORY_FAILED, Accept, Aside, Defer, Refuse
from mailserver.policy.aggregate_rows import aggregate_row, is_counted
from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dmarc.aggregate import AggregateRow
from mailserver.policy.dmarc.evaluator import DMARCResult
from mailserver.policy.dmarc.record import DMARCRecord
from mailserver.policy.sender_verdict import CheckedSender
from mailserver.policy.spf.values import SPFResult
from tests.support.resolvers import FakeResolver

HEAD = b"From: a@good.example\r\nSubject: hello\r\n\r\n"
RECORD = DMARCRecord(domain="good.example", policy="reject", rua=("mailto:r@good.example",))
OK = Accept("Ok")
REFUSED = Refuse(AUTHENTICATION_FAILED, "no", "policy.dmarc")
ASIDE = Accept("Ok", aside=Aside("no", "policy.dmarc"))
PASS = DMARCResult(result="pass", domain="good.example", aligned_by="dkim", record=RECORD)
FAIL = DMARCResult(result="fail", domain="good.example", policy="reject", record=RECORD)


def signature(domain: str, result: Any = "pass", **changes: Any) -> DKIMResult:
    return DKIMResult(result=result, domain=domain, selector="s", **changes)


def row(dmarc: DMARCResult, verdict: Any = OK, spf: str = "", dkim: Any = (), **changes: Any) -> AggregateRow:
    """The row of a message; ``spf`` is the domain that passes."""
    resolver = FakeResolver({("_dmarc.good.example", "TXT"): [b"v=DMARC1; p=reject"]}, Clock())
    found = {"ip": "192.0.2.1", "reverse_path": Address("a", "good.example"), **changes}
    done: list[AggregateRow] = []
    Deferred.fromCoroutine(
        aggregate_row(
            resolver,
            HEAD,
            CheckedSender(dmarc=dmarc),
            verdict,
            spf=SPFResult("pass" if spf else "fail", spf or "x.example"),
            dkim=dkim,
            **found,
        )
    ).addCallback(done.append)
    return done[0]


@pytest.mark.parametrize(
    ("aligned_by", "spf", "dkim", "expected"),
    [
        ("dkim", "", ["good.example"], (True, False)),
        ("dkim", "good.example", ["good.example"], (True, True)),
        ("dkim", "sub.good.example", ["good.example"], (True, True)),
        ("dkim", "evil.example", ["good.example"], (True, False)),
        ("spf", "good.example", [], (False, True)),
        ("spf", "good.example", ["list.example"], (False, True)),
        ("spf", "good.example", ["list.example", "sub.good.example"], (True, True)),
        ("", "evil.example", ["evil.example"], (False, False)),
    ],
)
def test_alignment(aligned_by: Any, spf: str, dkim: list[str], expected: tuple[bool, bool]) -> None:
    dmarc = attrs.evolve(PASS if aligned_by else FAIL, aligned_by=aligned_by)
    found = row(dmarc, spf=spf, dkim=[signature(domain) for domain in dkim])
    assert (found.dkim_aligned, found.spf_aligned) == expected


def test_a_signature_of_a_part_proves_nothing() -> None:
    dmarc = attrs.evolve(PASS, aligned_by="spf")
    found = row(dmarc, spf="good.example", dkim=[signature("good.example", partial=True)])
    assert not found.dkim_aligned and found.dkim == (("good.example", "s", "pass"),)


@pytest.mark.parametrize(
    ("dmarc", "verdict", "disposition", "reason"),
    [
        (PASS, OK, "pass", ""),
        (FAIL, OK, "none", "local_policy"),
        (FAIL, REFUSED, "reject", ""),
        (attrs.evolve(FAIL, policy="quarantine"), ASIDE, "quarantine", ""),
    ],
)
def test_dispositions(dmarc: DMARCResult, verdict: Any, disposition: str, reason: str) -> None:
    found = row(dmarc, verdict)
    assert (found.disposition, found.reason) == (disposition, reason)


def test_addresses() -> None:
    found = row(FAIL, ip="::ffff:192.0.2.1", reverse_path=None)
    assert (found.ip, found.envelope_from, found.spf) == ("192.0.2.1", "", ("x.example", "fail"))


REPORT = HEAD.replace(b"hello", b"Report Domain: example.org Submitter: good.example")


@pytest.mark.parametrize(
    ("head", "dmarc", "verdict", "expected"),
    [
        (HEAD, PASS, OK, True),
        (HEAD, FAIL, OK, True),
        (HEAD, FAIL, REFUSED, True),
        (HEAD, FAIL, Defer(DIRECTORY_FAILED, "later"), False),
        (HEAD, attrs.evolve(PASS, record=attrs.evolve(RECORD, rua=())), OK, False),
        (HEAD, DMARCResult(result="none", domain="good.example"), OK, False),
        (HEAD, attrs.evolve(FAIL, result="permerror"), OK, False),
        (REPORT, PASS, OK, False),
        (REPORT, FAIL, OK, True),  # a forged one
    ],
)
def test_what_counts(head: bytes, dmarc: DMARCResult, verdict: Any, expected: bool) -> None:
    assert is_counted(head, dmarc, verdict) is expected
