"""What the aggregate reports of DMARC tell about one message."""

from collections.abc import Sequence

from mailserver.dns.interfaces import IResolver
from mailserver.mail.address import ReversePath
from mailserver.mail.verdict import Accept, Defer, Refuse
from mailserver.policy.dkim.head import message_head
from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dmarc.aggregate import (
    AggregateRow,
    as_text,
    disposition_of,
    override_reason,
    signatures,
)
from mailserver.policy.dmarc.evaluator import DMARCResult, evaluate_dmarc
from mailserver.policy.dmarc.record import DMARCPolicy
from mailserver.policy.lookups import answered
from mailserver.policy.sender_verdict import CheckedSender
from mailserver.policy.spf.values import SPFResult
from mailserver.policy.strangers import client_address

_REPORT = b"Report Domain:"  # how the Subject of all daily reports begins


def proved_by_spf(spf: SPFResult) -> str:
    """The domain that SPF has proved, or ""."""
    return spf.domain if spf.result == "pass" else ""


def proved_by_dkim(dkim: Sequence[DKIMResult]) -> list[str]:
    """The domains that signatures have proved.

    A signature that leaves a part of the body open proves nothing: anybody may have added that part.
    """
    return [one.domain for one in dkim if one.result == "pass" and not one.partial]


def is_counted(head: bytes, dmarc: DMARCResult, verdict: Accept | Defer | Refuse) -> bool:
    """Whether a report tells about a message: its policy asks for reports, and it does not come again.

    Genuine reports are not counted. Else two servers would write each other reports about nothing but the
    reports, every day.
    """
    if dmarc.record is None or not dmarc.record.rua or dmarc.result not in ("pass", "fail"):
        return False
    if isinstance(verdict, Defer):
        return False
    subjects = message_head(head).named(b"subject") if dmarc.result == "pass" else ()
    return not any(subject.value.strip().startswith(_REPORT) for subject in subjects)


async def aggregate_row(
    resolver: IResolver,
    head: bytes,
    found: CheckedSender,
    verdict: Accept | Refuse,
    *,
    ip: str,
    reverse_path: ReversePath,
    spf: SPFResult,
    dkim: Sequence[DKIMResult],
) -> AggregateRow:
    """The row of a message that is counted. ``resolver`` says whether both SPF and DKIM prove its author."""
    dmarc = found.dmarc
    assert dmarc is not None
    applied = _applied(verdict)
    by_dkim = by_spf = False
    if dmarc.aligned_by:
        by_dkim = dmarc.aligned_by == "dkim" or await _proves(resolver, head, dkim=proved_by_dkim(dkim))
        by_spf = dmarc.aligned_by == "spf" or await _proves(resolver, head, spf=proved_by_spf(spf))
    return AggregateRow(
        ip=str(client_address(ip)),
        disposition=disposition_of(dmarc, applied),
        dkim_aligned=by_dkim,
        spf_aligned=by_spf,
        reason=override_reason(dmarc, applied, found.forwarder),
        header_from=as_text(dmarc.domain),
        envelope_from="" if reverse_path is None else as_text(reverse_path.domain),
        dkim=signatures(dkim, dmarc.domain),
        spf=(as_text(spf.domain), spf.result),
    )


async def _proves(resolver: IResolver, head: bytes, *, spf: str = "", dkim: Sequence[str] = ()) -> bool:
    if not spf and not dkim:
        return False
    return (await answered(resolver, evaluate_dmarc(head, spf=spf, dkim=dkim))).result == "pass"


def _applied(verdict: Accept | Refuse) -> DMARCPolicy:
    if isinstance(verdict, Refuse):
        return "reject"
    return "none" if verdict.aside is None else "quarantine"
