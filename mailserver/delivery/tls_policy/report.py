"""Reports about TLS: the addresses that a domain publishes for them, and the message (RFC 8460).

    record = "v=TLSRPTv1" *WSP ";" *WSP "rua=" uri *( "," uri ) [ ";" … ]     ; section 3

Reports go to mailto addresses. Those to https addresses are not supported, and domains with only those get no
report.
"""

import gzip
import json
import re
from base64 import encodebytes
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import attrs

from mailserver.delivery.tls_policy.results import DAY, AppliedPolicy, DomainResults, PolicyResults
from mailserver.delivery.tls_policy.sts_policy import STSPolicy
from mailserver.errors import AddressError
from mailserver.mail.address import Address

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
            found += [address for uri in value.split(",") for address in _mailto(uri.strip(" \t"))]
    return tuple(dict.fromkeys(found))[:MOST_ADDRESSES]


def _mailto(uri: str) -> Iterator[Address]:
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "mailto":
        try:
            yield Address.parse(unquote(rest.partition("?")[0]))
        except AddressError:
            return


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
                "start-datetime": _time(self.day * DAY),
                "end-datetime": _time(self.day * DAY + DAY - 1),
            },
            "contact-info": self.contact,
            "report-id": self.id,
            "policies": [_policy(self.domain, applied, results) for applied, results in self.results.items()],
        }

    def message(self, to: Sequence[Address], now: float) -> bytes:
        """The message to these addresses (section 5.3). ``now`` is in seconds since the epoch."""
        start, end = self.day * DAY, self.day * DAY + DAY - 1
        boundary = f"=_{self.id}"
        fields = [
            f"From: Mail Delivery System <{self.contact}>",
            f"To: {', '.join(map(str, to))}",
            f"Subject: Report Domain: {self.domain} Submitter: {self.hostname}",
            f" Report-ID: <{self.id}@{self.hostname}>",
            f"Date: {formatdate(now, localtime=True)}",
            f"Message-ID: <{self.id}@{self.hostname}>",
            f"TLS-Report-Domain: {self.domain}",
            f"TLS-Report-Submitter: {self.hostname}",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/report; report-type="tlsrpt"; boundary="{boundary}"',
            "",
            f"--{boundary}",
            "Content-Type: text/plain; charset=us-ascii",
            "",
            f"This is the mail system at {self.hostname}.",
            "",
            "The attachment is a report about TLS in the sessions of this mail system with the mail",
            f"servers of {self.domain}, from {_time(start)} to {_time(end)}.",
            "RFC 8460 describes its format.",
            "",
            f"--{boundary}",
            "Content-Type: application/tlsrpt+gzip",
            "Content-Transfer-Encoding: base64",
            "Content-Disposition: attachment;",
            f' filename="{self.hostname}!{self.domain}!{start}!{end}!{self.id}.json.gz"',
            "",
        ]
        packed = encodebytes(gzip.compress(json.dumps(self.document()).encode(), mtime=0))
        end_line = f"--{boundary}--\r\n"
        return "\r\n".join([*fields, ""]).encode() + packed.replace(b"\n", b"\r\n") + end_line.encode()


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


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
