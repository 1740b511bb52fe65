"""Aggregate reports of DMARC as XML (RFC 9990, with the schema of appendix A).

A report is about one policy domain and one day. Messages with the same results are one row with a count.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

import attrs

from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dmarc.evaluator import DMARCResult
from mailserver.policy.dmarc.record import DMARCPolicy, DMARCRecord

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"

Disposition = Literal["none", "pass", "quarantine", "reject"]
OverrideReason = Literal["", "local_policy", "policy_test_mode", "trusted_forwarder"]

_LONGEST = 255  # characters of a text that a stranger wrote
# XML has no way to write these (XML 1.0 section 2.2), or they would break the line.
_NO_TEXT = re.compile("[^ -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@attrs.frozen(kw_only=True)
class AggregateRow:
    """What is known of one message. Other messages with the same values are in the same row.

    ``ip`` is the address of the client. ``dkim_aligned`` and ``spf_aligned`` say what proves the author
    domain. ``reason`` says why ``disposition`` is not what the policy asks for, "" if it is. ``dkim`` has the
    domain, selector and result of signatures, ``spf`` the domain and the result.
    """

    ip: str
    disposition: Disposition
    dkim_aligned: bool
    spf_aligned: bool
    reason: OverrideReason
    header_from: str
    envelope_from: str
    dkim: tuple[tuple[str, str, str], ...]
    spf: tuple[str, str]

    @property
    def size(self) -> int:
        """The characters of all texts."""
        texts = (self.ip, self.header_from, self.envelope_from, *self.spf, *sum(self.dkim, ()))
        return sum(map(len, texts))


def as_text(text: str) -> str:
    """A text of a stranger as a report has it: short, and without characters that XML does not have."""
    return _NO_TEXT.sub("\ufffd", text[:_LONGEST])


def signatures(found: Iterable[DKIMResult], author: str) -> tuple[tuple[str, str, str], ...]:
    """The signatures of a message whose domain can be read, the most important ones first."""

    def rank(one: DKIMResult) -> int:
        if one.result != "pass":
            return 3
        domain = one.domain.lower()
        return 0 if domain == author else 1 if _is_near(domain, author) else 2

    known = (one for one in found if one.domain)
    return tuple((as_text(one.domain), as_text(one.selector), one.result) for one in sorted(known, key=rank))


def _is_near(one: str, other: str) -> bool:
    return one.endswith(f".{other}") or other.endswith(f".{one}")


def disposition_of(dmarc: DMARCResult, applied: DMARCPolicy) -> Disposition:
    """The word for what was ``applied`` to a message: "pass" if its policy had to be met, and was."""
    return "pass" if dmarc.result == "pass" and "none" not in _policies(dmarc) else applied


def override_reason(dmarc: DMARCResult, applied: DMARCPolicy, forwarder: str) -> OverrideReason:
    """Why a message that fails is not treated as the policy asks. ``forwarder``: a trusted one vouches."""
    if dmarc.result != "fail":
        return ""
    if applied != dmarc.policy:
        return "trusted_forwarder" if forwarder else "local_policy"
    tested = dmarc.record is not None and dmarc.record.testing
    return "policy_test_mode" if tested and _policies(dmarc) != {"none"} else ""


def _policies(dmarc: DMARCResult) -> set[DMARCPolicy]:
    """The policies that the author domain may have: which one may depend on whether it exists."""
    record = dmarc.record
    assert record is not None
    return {record.policy} if record.domain == dmarc.domain else {record.subdomains, record.missing}


@attrs.frozen(kw_only=True)
class AggregateReport:
    """The rows of a reporting period from ``begin`` to ``end``, in seconds since the epoch.

    ``policy`` is the last record that was seen. ``organization`` and ``email`` are those of the reporter.
    """

    id: str
    organization: str
    email: str
    generator: str
    begin: int
    end: int
    policy: DMARCRecord
    rows: Mapping[AggregateRow, int]

    def xml(self) -> bytes:
        """The document, in UTF-8."""
        root = Element("feedback", xmlns=NAMESPACE)
        _add(root, "version", "1.0")
        metadata = SubElement(root, "report_metadata")
        _add(metadata, "org_name", self.organization)
        _add(metadata, "email", self.email)
        _add(metadata, "report_id", self.id)
        period = SubElement(metadata, "date_range")
        _add(period, "begin", str(self.begin))
        _add(period, "end", str(self.end))
        _add(metadata, "generator", self.generator)
        self._add_policy(SubElement(root, "policy_published"))
        for row, count in self.rows.items():
            _add_record(SubElement(root, "record"), row, count)
        document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
        return document

    def _add_policy(self, parent: Element) -> None:
        policy = self.policy
        _add(parent, "domain", policy.domain)
        _add(parent, "p", policy.policy)
        _add(parent, "sp", policy.subdomains)
        _add(parent, "np", policy.missing)
        _add(parent, "adkim", "s" if policy.strict_dkim else "r")
        _add(parent, "aspf", "s" if policy.strict_spf else "r")
        _add(parent, "discovery_method", "treewalk")
        _add(parent, "testing", "y" if policy.testing else "n")


def _add_record(record: Element, one: AggregateRow, count: int) -> None:
    row = SubElement(record, "row")
    _add(row, "source_ip", one.ip)
    _add(row, "count", str(count))
    evaluated = SubElement(row, "policy_evaluated")
    _add(evaluated, "disposition", one.disposition)
    _add(evaluated, "dkim", "pass" if one.dkim_aligned else "fail")
    _add(evaluated, "spf", "pass" if one.spf_aligned else "fail")
    if one.reason:
        _add(SubElement(evaluated, "reason"), "type", one.reason)
    identifiers = SubElement(record, "identifiers")
    _add(identifiers, "header_from", one.header_from)
    _add(identifiers, "envelope_from", one.envelope_from)
    results = SubElement(record, "auth_results")
    for domain, selector, result in one.dkim:
        dkim = SubElement(results, "dkim")
        _add(dkim, "domain", domain)
        _add(dkim, "selector", selector)
        _add(dkim, "result", result)
    spf = SubElement(results, "spf")
    _add(spf, "domain", one.spf[0])
    _add(spf, "scope", "mfrom")
    _add(spf, "result", one.spf[1])


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = as_text(text)
