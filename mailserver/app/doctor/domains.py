"""The records of the domains in DNS, by the same comparison as ``mailserver dns``."""

import ipaddress
from collections.abc import Iterator, Sequence

from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.app.zone import ZoneCheck
from mailserver.commands.zone.published import RecordReport, WantedRecord
from mailserver.commands.zone.zone_file import record_line
from mailserver.control.channel import CommandFailed

_KINDS = {"A": "dns-address", "AAAA": "dns-address"}
_TEXTS = (
    ("_dmarc.", "dns-dmarc"),
    ("_smtp._tls.", "dns-tls-rpt"),
    ("_mta-sts.", "dns-mta-sts"),
)


async def check_domains(it: Installation) -> Sequence[Examined]:
    """All domains with mailboxes here."""
    results: list[Examined] = []
    for domain in it.config.domains:
        if "." not in domain or domain.startswith("["):
            results.append(NotChecked(f"DNS of {domain}", "it is not a name that DNS can have"))
            continue
        try:
            check = await it.run(ZoneCheck, it.path, it.config, domain, it.public_addresses)
        except CommandFailed as error:
            results.append(NotChecked(f"DNS of {domain}", str(error)))
            continue
        zone = await check.look_up(it.resolver, it.reactor)
        asked = [one for one in zone.reports if one.record.questions]
        if asked and all(one.state.status == "unknown" for one in asked):
            results.append(NotChecked(f"DNS of {domain}", f"DNS does not answer: {asked[0].state.effect}"))
            continue
        for report in zone.reports:
            results += _examined(domain, report)
    return results


def _examined(domain: str, report: RecordReport) -> Iterator[Examined]:
    record, state = report.record, report.state
    name = f"{record.name} {record.kind}"
    if state.status == "unknown":
        yield NotChecked(name, state.effect)
    elif report.is_problem:
        text = state.effect or f"the record is {state.status}"
        if state.status == "missing":
            text = f"there is no record: {text}" if record.questions else text
        elif state.there:
            text = f"{text} It has: {'; '.join(state.there)}"
        yield DoctorFinding(kind_of(record), name, text, _mend(domain, record))


def kind_of(record: WantedRecord) -> str:
    """The kind of the finding for a record that is missing or wrong."""
    if record.kind != "TXT":
        return _KINDS.get(record.kind, f"dns-{record.kind.lower()}")
    if "._domainkey." in record.name:
        return "dns-dkim"
    return next((kind for start, kind in _TEXTS if record.name.startswith(start)), "dns-spf")


def _mend(domain: str, record: WantedRecord) -> str:
    if record.kind == "PTR":
        name = record.name.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
        parts = name.split(".")[::-1]
        address = (
            ".".join(parts)
            if len(parts) == 4
            else ":".join(map("".join, zip(*[iter(parts)] * 4, strict=True)))
        )
        return f"let the provider of {ipaddress.ip_address(address)} set its name to {record.data}"
    if not record.questions:
        return f"mailserver dkim make {domain}"
    return f"publish: {record_line(record.name, record.kind, record.data)} (mailserver dns {domain})"
