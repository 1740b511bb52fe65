"""Reports about TLS: the addresses that a domain publishes for them, and the message (RFC 8460).

    record = "v=TLSRPTv1" *WSP ";" *WSP "rua=" uri *( "," uri ) [ ";" … ]     ; section 3

Reports go to mailto addresses. Those to https addresses are not supported, and domains with only those get no
report.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import attrs

from mailserver.delivery.tls_policy.results import AppliedPolicy, DomainResults, PolicyResults
from mailserver.delivery.tls_policy.sts_policy import STSPolicy
from mailserver.mail.address import Address
from mailserver.mail.daily_report import DAY, DailyReport, mailto_address, utc_text

MOST_ADDRESSES = 5
_VERSION = re.compile(rb"v=TLSRPTv1[ \t]*;")
_MOST_RECORD_DATA = 128  # hexadecimal digits; a SHA-512 has as many


def is_report_record(text: bytes) -> bool:
    """Whether a TXT record is one for reports about TLS."""
    return _VERSION.match(text) is not None


def report_addresses(texts: Sequence[bytes]) -> tuple[Address, ...]:
    """The mailto addresses in the TXT records of _smtp._tls.DOMAIN. Several records are as good as none."""
    records = [text for text in texts if is_report_record(text)]
    if len(records) != 1:
        return ()
    found: list[Address] = []
    for field in records[0].decode("ascii", "replace").split(";")[1:]:
        name, _, value = field.strip(" \t").partition("=")
        if name == "rua":
            addresses = (mailto_address(uri.strip(" \t")) for uri in value.split(","))
            found += [address for address in addresses if address is not None]
    return tuple(dict.fromkeys(found))[:MOST_ADDRESSES]


@attrs.frozen
class TLSReport:
    """The results of one day (days since the epoch) with one domain. ``contact`` is an address here."""

    id: str
    hostname: str
    contact: str
    domain: str
    day: int
    results: DomainResults

    def document(self) -> dict[str, Any]:
        """The report as RFC 8460 section 4.4 has it."""
        return {
            "organization-name": self.hostname,
            "date-range": {
                "start-datetime": utc_text(self.day * DAY),
                "end-datetime": utc_text(self.day * DAY + DAY - 1),
            },
            "contact-info": self.contact,
            "report-id": self.id,
            "policies": [_policy(self.domain, applied, results) for applied, results in self.results.items()],
        }

    def message(self, to: Sequence[Address], now: float) -> bytes:
        """The message to these addresses (section 5.3). ``now`` is in seconds since the epoch."""
        report = DailyReport(
            id=self.id,
            hostname=self.hostname,
            contact=self.contact,
            domain=self.domain,
            day=self.day,
            report_id=f"{self.id}@{self.hostname}",
        )
        return report.message(
            to,
            now,
            fields=(f"TLS-Report-Domain: {self.domain}", f"TLS-Report-Submitter: {self.hostname}"),
            content_type='multipart/report; report-type="tlsrpt"',
            text=(
                "The attachment is a report about TLS in the sessions of this mail system with the mail",
                f"servers of {self.domain}, from {utc_text(report.begin)} to {utc_text(report.end)}.",
                "RFC 8460 describes its format.",
            ),
            file_type="application/tlsrpt+gzip",
            extension="json.gz",
            content=json.dumps(self.document()).encode(),
        )


def _policy(domain: str, applied: AppliedPolicy, results: PolicyResults) -> dict[str, Any]:
    policy: dict[str, Any] = {"policy-type": "no-policy-found", "policy-domain": domain}
    if isinstance(applied, STSPolicy):
        policy |= {"policy-type": "sts", "policy-string": applied.lines, "mx-host": applied.mx}
    elif applied is not None:
        records = [
            f"{one.usage} {one.selector} {one.matching} {one.data.hex()[:_MOST_RECORD_DATA]}"
            for one in applied
        ]
        policy |= {"policy-type": "tlsa", "policy-string": records}
    return {
        "policy": policy,
        "summary": {
            "total-successful-session-count": results.successes,
            "total-failure-session-count": results.failures.total(),
        },
        "failure-details": [
            {"result-type": problem, "receiving-mx-hostname": host, "failed-session-count": count}
            for (problem, host), count in results.failures.items()
        ],
    }
