"""Compares the TXT records: SPF, DKIM, DMARC, MTA-STS and TLS reports."""

import re
from collections.abc import Sequence

from mailserver.commands.zone.published import PublishedRecords, RecordState, shown
from mailserver.delivery.tls_policy.report import is_report_record
from mailserver.delivery.tls_policy.sts_policy import is_sts_record, record_id
from mailserver.policy.dkim.key_record import read_key
from mailserver.policy.dkim.keys import SigningKey, kind_of, public_octets
from mailserver.policy.dkim.results import UnusableSignature
from mailserver.policy.dmarc.record import DMARCRecord, read_dmarc
from mailserver.policy.dmarc.tree import organization_of, walked
from mailserver.policy.spf.record import parse_record, select_records
from mailserver.policy.spf.values import SPFRequest, SPFSyntaxError

_POLICY = re.compile(rb";[ \t]*[pP][ \t]*=[ \t]*(none|quarantine|reject)[ \t]*(?:;|\Z)", re.IGNORECASE)
_REMOVED = re.compile(rb";[ \t]*(pct|rf|ri)[ \t]*=", re.IGNORECASE)
_REPORTS = re.compile(rb";[ \t]*rua[ \t]*=[ \t]*(mailto|https):[^ \t;,]", re.IGNORECASE)


def compare_spf(name: str, requests: Sequence[SPFRequest], published: PublishedRecords) -> RecordState:
    """The SPF record of a domain (RFC 7208), which must pass for all ``requests``."""
    records = select_records(published.records(name, "TXT"))
    there = tuple(map(shown, records))
    if not records:
        return RecordState("missing", "Receivers cannot tell your mail from forged mail, and doubt both.")
    if len(records) > 1:
        return RecordState("different", "Receivers use none of several records.", there)
    try:
        record = parse_record(records[0])
    except SPFSyntaxError as error:
        return RecordState("different", f"The record is malformed: {error}. Receivers do not use it.", there)
    unknown = ""
    for request in requests:
        result = published.spf[request]
        reason = f" ({result.problem or result.mechanism})" if result.problem or result.mechanism else ""
        if result.result == "temperror":
            unknown = f"SPF of {request.ip}: {result.problem}"
        elif result.result != "pass":
            text = f'Your mail from {request.ip} has the result "{result.result}"{reason}.'
            return RecordState("different", text, there)
    if any(one.name == "all" and one.outcome == "pass" for one in record.mechanisms):
        return RecordState("different", "The record passes for the mail of everybody.", there)
    return RecordState("unknown", unknown, there) if unknown else RecordState("right", "", there)


def compare_dkim(name: str, key: SigningKey, published: PublishedRecords) -> RecordState:
    """The public key of a signing key (RFC 6376 section 3.6.1)."""
    records = published.records(name, "TXT")
    there = tuple(map(shown, records))
    if not records:
        return RecordState("missing", "Receivers cannot verify the signatures.")
    if len(records) > 1:
        return RecordState("different", "Several records: receivers may take the wrong one.", there)
    try:
        public = read_key(records[0], f"{kind_of(key)}-sha256")
    except UnusableSignature as error:
        return RecordState("different", f"Receivers cannot verify the signatures: {error}.", there)
    if public_octets(public.key) != public_octets(key.public_key()):
        text = "The key is not that of the configuration: all signatures fail."
        return RecordState("different", text, there)
    return RecordState("right", "t=y says that you only test: remove it." if public.testing else "")


def dmarc_name(domain: str) -> str:
    """The name of the policy of a domain."""
    return f"_dmarc.{domain}"


def compare_dmarc(domain: str, published: PublishedRecords) -> RecordState:
    """The policy of a domain (RFC 9989 section 4.7), or that of a domain above it, which applies instead."""
    found = _policies(domain, published)
    there = tuple(shown(text) for text, _ in found)
    if not found:
        return _policy_above(domain, published)
    if len(found) > 1:
        return RecordState("different", "Several policies: receivers use none of them.", there)
    [(text, record)] = found
    if not record.usable or not _POLICY.search(text):
        return RecordState("different", "The record has no valid p=: receivers apply no policy.", there)
    return RecordState("right", " ".join(_dmarc_notes(text, record)), there)


def _policies(domain: str, published: PublishedRecords) -> list[tuple[bytes, DMARCRecord]]:
    texts = published.records(dmarc_name(domain), "TXT")
    return [(text, record) for text in texts if (record := read_dmarc(text, domain)) is not None]


def _policy_above(domain: str, published: PublishedRecords) -> RecordState:
    """The state of a domain without a policy of its own (section 4.10.1)."""
    records: list[DMARCRecord] = []
    for above in walked(domain)[1:]:
        if isinstance(failure := published.answers[dmarc_name(above), "TXT"], str):
            return RecordState("unknown", failure)
        found = _policies(above, published)
        records += [record for _, record in found] if len(found) == 1 else []
    organization = organization_of(domain, records)
    for record in records:
        if record.domain == organization and record.usable:
            return RecordState("right", f"The policy of {organization} applies: {record.subdomains}.")
    return RecordState("missing", "Large providers reject or distrust mail of a domain without a policy.")


def _dmarc_notes(text: bytes, record: DMARCRecord) -> list[str]:
    notes = []
    if record.policy == "none":
        notes.append(
            "p=none only asks for reports. If these show that your mail passes, go on to quarantine."
        )
    if record.testing:
        notes.append("t=y asks receivers not to apply the policy.")
    if removed := _REMOVED.search(text):
        notes.append(f"{removed[1].decode().lower()}= has no effect any more (RFC 9989).")
    if not _REPORTS.search(text):
        notes.append("Without rua= nobody sends reports.")
    return notes


def compare_sts(name: str, host: str, published: PublishedRecords) -> RecordState:
    """The record of MTA-STS (RFC 8461 section 3.1). ``host`` has the policy file."""
    texts = published.records(name, "TXT")
    records = [text for text in texts if is_sts_record(text)]
    there = tuple(map(shown, records))
    if not records:
        return RecordState("missing", "Somebody between a sender and this server can turn off TLS.")
    if record_id(texts) is None:
        problem = "Several records" if len(records) > 1 else "The record has no valid id="
        return RecordState("different", f"{problem}: senders use no policy.", there)
    if not published.addresses(host):
        text = f"{host} has no address: senders cannot fetch the policy, and use none."
        return RecordState("different", text, there)
    return RecordState("right", "This command does not fetch the policy file.", there)


def compare_tls_reports(name: str, published: PublishedRecords) -> RecordState:
    """The record for reports about TLS (RFC 8460 section 3)."""
    texts = [text for text in published.records(name, "TXT") if is_report_record(text)]
    there = tuple(map(shown, texts))
    if not texts:
        return RecordState("missing", "Nobody tells you when TLS with this server fails.")
    if len(texts) > 1:
        return RecordState("different", "Several records: nobody sends reports.", there)
    if not _REPORTS.search(texts[0]):
        return RecordState("different", "The record has no valid rua=: nobody sends reports.", there)
    return RecordState("right", "", there)
