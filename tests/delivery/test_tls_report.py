"""Reports about TLS: their addresses, their content as other programs read it, and their day."""

import email
import gzip
import json
from collections import Counter
from collections.abc import Callable
from email import policy

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mailserver.delivery.daily import SPREAD
from mailserver.delivery.tls_policy.report import TLSReport, report_addresses
from mailserver.delivery.tls_policy.reporter import TLSReporter
from mailserver.delivery.tls_policy.results import PolicyResults, TLSResults
from mailserver.delivery.tls_policy.sts_policy import STSPolicy
from mailserver.dns.records import TLSA
from mailserver.errors import DNSFailure, StorageError
from mailserver.mail.address import Address
from mailserver.mail.daily_report import DAY
from tests.support.resolvers import FakeResolver

DAY_OF_RFC = 16892  # 2016-04-01


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([b"v=TLSRPTv1;rua=mailto:reports@example.com"], ["reports@example.com"]),  # RFC 8460 section 3.1
        ([b"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt"], []),
        ([b"v=TLSRPTv1; rua=MAILTO:a@x.example, https://x.example,mailto:b@x.example;x=y"], ["a", "b"]),
        ([b"v=TLSRPTv1 ; rua=mailto:a%2Bb@x.example?subject=x"], ["a+b"]),
        ([b"v=TLSRPTv1;rua=mailto:a@x.example,mailto:a@x.example"], ["a"]),
        ([b"v=TLSRPTv1;rua=" + b",".join(b"mailto:%d@x.example" % n for n in range(9))], list("01234")),
        ([b"v=spf1 -all", b"v=TLSRPTv1;rua=mailto:a@x.example"], ["a"]),
        ([b"v=TLSRPTv1;rua=mailto:a@x.example"] * 2, []),
        ([b"v=TLSRPTv1;rua=mailto:a b,mailto:,mailto:a%0d%0ab@x.example"], []),
        ([b"v=TLSRPTv12;rua=mailto:a@x.example"], []),
        ([b"v=TLSRPTv1;rua=mailto:\xff@x.example"], ["\ufffd"]),
        ([b"v=TLSRPTv1"], []),
        ([], []),
    ],
)
def test_addresses(texts: list[bytes], expected: list[str]) -> None:
    found = [str(address) for address in report_addresses(texts)]
    assert found == [name if "@" in name else f"{name}@x.example" for name in expected]


REPORT = TLSReport(
    "1m81yw237y5dnr66", "mail.example.net", "postmaster@example.net", "example.org", DAY_OF_RFC,
    {
        STSPolicy("enforce", ("*.mail.example.org",), 86400): PolicyResults(
            5326,
            Counter({("certificate-expired", "mx1.mail.example.org"): 100, ("validation-failure", "b"): 3}),
        ),
        (TLSA(3, 1, 1, b"\x0a\xbc"), TLSA(2, 0, 0, bytes(2000))): PolicyResults(1),
        None: PolicyResults(),
    },
)  # fmt: skip


def test_the_document() -> None:
    sts, tlsa, none = REPORT.document()["policies"]
    assert sts == {
        "policy": {
            "policy-type": "sts",
            "policy-string": ("version: STSv1", "mode: enforce", "mx: *.mail.example.org", "max_age: 86400"),
            "policy-domain": "example.org",
            "mx-host": ("*.mail.example.org",),
        },
        "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 103},
        "failure-details": [
            {
                "result-type": "certificate-expired",
                "receiving-mx-hostname": "mx1.mail.example.org",
                "failed-session-count": 100,
            },
            {"result-type": "validation-failure", "receiving-mx-hostname": "b", "failed-session-count": 3},
        ],
    }
    assert tlsa["policy"]["policy-type"] == "tlsa"
    assert tlsa["policy"]["policy-string"] == ["3 1 1 0abc", "2 0 0 " + "0" * 128]
    assert none["policy"] == {"policy-type": "no-policy-found", "policy-domain": "example.org"}


def test_the_message() -> None:
    """RFC 8460 section 5.3, by Python's email package."""
    to = (Address("reports", "example.org"), Address("b", "example.com"))
    octets = REPORT.message(to, DAY_OF_RFC * DAY + 90_000.0)
    assert octets.isascii() and max(map(len, octets.split(b"\r\n"))) <= 998
    assert octets.count(b"\n") == octets.count(b"\r\n")
    message = email.message_from_bytes(octets, policy=policy.SMTP)
    assert not [defect for part in message.walk() for defect in part.defects]
    assert {name: message[name] for name in ("From", "To", "Subject", "Message-ID")} == {
        "From": "Mail Delivery System <postmaster@example.net>",
        "To": "reports@example.org, b@example.com",
        "Subject": "Report Domain: example.org Submitter: mail.example.net"
        " Report-ID: <1m81yw237y5dnr66@mail.example.net>",
        "Message-ID": "<1m81yw237y5dnr66@mail.example.net>",
    }
    assert message["TLS-Report-Domain"] == "example.org"
    assert message["TLS-Report-Submitter"] == "mail.example.net"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    text, attached = message.iter_parts()
    assert "example.org, from 2016-04-01T00:00:00Z to 2016-04-01T23:59:59Z" in text.get_content()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == (
        "mail.example.net!example.org!1459468800!1459555199!1m81yw237y5dnr66.json.gz"
    )
    document = json.loads(gzip.decompress(attached.get_content()))
    assert document == json.loads(json.dumps(REPORT.document()))
    assert document["date-range"] == {
        "start-datetime": "2016-04-01T00:00:00Z",
        "end-datetime": "2016-04-01T23:59:59Z",
    }


class Stand:
    """A reporter, with domains whose reports are wanted, or not, or cannot be sent now."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(DAY_OF_RFC * DAY + 3600)
        self.results = TLSResults(self.clock.seconds)
        self.resolver = FakeResolver(
            {
                ("_smtp._tls.a.example", "TXT"): [b"v=TLSRPTv1;rua=mailto:r@a.example"],
                ("_smtp._tls.broken.example", "TXT"): DNSFailure("x"),
                ("_smtp._tls.b.example", "TXT"): [b"v=TLSRPTv1;rua=mailto:r@b.example"],
            },
            self.clock,
        )
        self.sent: list[tuple[str, ...]] = []
        self.answer: Callable[[None], Deferred[None]] = succeed
        self.reporter = TLSReporter(
            self.results, self.resolver, self.send, "mail.example.net", "p@example.net", self.clock
        )
        self.reporter.start()

    def send(self, id, to, content) -> Deferred[None]:
        assert id.encode() in content
        self.sent.append(tuple(map(str, to)))
        return self.answer(None)

    def count(self, *domains: str) -> None:
        for domain in domains:
            self.results.count(domain, None, "mx", "")


def test_a_report_each_day() -> None:
    stand = Stand()
    stand.count("a.example", "silent.example", "broken.example", "b.example")
    stand.clock.advance(DAY - 3601)
    assert stand.sent == []
    stand.clock.advance(1 + SPREAD)
    assert stand.sent == [("r@a.example",), ("r@b.example",)]
    stand.count("b.example")
    stand.clock.advance(DAY)
    assert stand.sent[2:] == [("r@b.example",)]
    stand.reporter.stop()
    assert stand.clock.getDelayedCalls() == []


def test_the_spool_fails() -> None:
    stand = Stand()
    stand.answer = lambda _: fail(StorageError("no"))
    stand.count("a.example", "b.example")
    stand.clock.advance(DAY + SPREAD)
    assert len(stand.sent) == 2
    stand.clock.advance(DAY)
    assert len(stand.sent) == 2


def test_stopping_while_it_sends() -> None:
    stand = Stand()
    stand.resolver.delays["_smtp._tls.a.example", "TXT"] = 9.0
    stand.count("a.example")
    stand.clock.advance(DAY + SPREAD)
    stand.reporter.stop()
    stand.clock.advance(2 * DAY)
    assert stand.sent == [] and stand.clock.getDelayedCalls() == []
