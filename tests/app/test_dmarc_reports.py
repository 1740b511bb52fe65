"""The daily reports about DMARC: who gets one, in which form, and when none is sent."""

import email
import gzip
from email import policy
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs

from mailserver.app.dmarc_reports import AT_ONCE, LOOKUPS, DMARCReports
from mailserver.config.loader import load
from mailserver.delivery.daily import SPREAD
from mailserver.errors import DNSFailure, StorageError
from mailserver.mail.daily_report import DAY
from mailserver.policy.dmarc.aggregate import AggregateRow
from mailserver.policy.dmarc.record import read_dmarc
from mailserver.threads.pool import Threads
from tests.support.e2e.server import configuration
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor
from tests.support.resolvers import FakeResolver

ROW = AggregateRow(
    ip="192.0.2.1", disposition="none", dkim_aligned=False, spf_aligned=False, reason="",
    header_from="a.example", envelope_from="", dkim=(), spf=("a.example", "none"),
)  # fmt: skip


class Stand:
    """The service, and what it has sent."""

    def __init__(self, path: Path, keys: str = "dmarc_reports = true") -> None:
        self.path = path
        self.reactor = FakeReactor()
        self.reactor.advance(9 * DAY + 3600)
        self.resolver = FakeResolver({}, self.reactor)
        self.sent: list[tuple[str, tuple[str, ...], bytes]] = []
        self.answer: Deferred[None] | None = None
        self.reports = DMARCReports(
            self.config(keys),
            stand_in(self.reactor),
            self.resolver,
            Threads(stand_in(self.reactor)),
            self.send,
        )
        self.reports.startService()

    def config(self, keys: str) -> Any:
        self.path.write_text(configuration(tables=f"[policy]\n{keys}"))
        return load(self.path)

    def reload(self, keys: str) -> None:
        Deferred.fromCoroutine(self.reports.prepare(self.config(keys))).addCallback(lambda commit: commit())

    def send(self, id, to, content) -> Deferred[None]:
        self.sent.append((id, tuple(map(str, to)), content))
        return self.answer or succeed(None)

    def count(self, domain: str, rua: str = "", row: AggregateRow = ROW) -> None:
        record = read_dmarc(f"v=DMARC1; p=reject; rua={rua or f'mailto:r@{domain}'}".encode(), domain)
        assert record is not None
        self.reports.results.count(record, row)

    def next_day(self) -> list[str]:
        """The recipients of the reports of a day, and the reasons why others were not sent."""
        before = len(self.sent)
        with capturedLogs() as logs:
            self.reactor.advance(DAY + SPREAD)
            self.reactor.pump([LOOKUPS] * 3)
        events = [event["log_event"] for event in logs if "log_event" in event]
        reasons = [event.reason for event in events if type(event).__name__ == "DMARCReportNotSent"]
        return [" ".join(to) for _, to, _ in self.sent[before:]] + reasons


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "mailserver.toml")


def test_the_message(stand: Stand) -> None:
    """The form of RFC 9990, by Python's email package."""
    for row in (ROW, attrs.evolve(ROW, ip="192.0.2.2"), ROW):
        stand.count("a.example", "mailto:r@a.example,mailto:s@sub.a.example", row)
    stand.resolver.records["_dmarc.a.example", "TXT"] = [b"v=DMARC1"]
    assert stand.next_day() == ["r@a.example s@sub.a.example"]
    [(id, _, octets)] = stand.sent
    assert octets.isascii() and octets.count(b"\n") == octets.count(b"\r\n")
    message = email.message_from_bytes(octets, policy=policy.SMTP)
    assert not [defect for part in message.walk() for defect in part.defects]
    assert {name: message[name] for name in ("From", "To", "Subject", "Message-ID", "Auto-Submitted")} == {
        "From": "Mail Delivery System <postmaster@example.org>",
        "To": "r@a.example, s@sub.a.example",
        "Subject": f"Report Domain: a.example Submitter: mail.example.org Report-ID: <{id}>",
        "Message-ID": f"<{id}@mail.example.org>",
        "Auto-Submitted": "auto-generated",
    }
    assert message.get_content_type() == "multipart/mixed"
    text, attached = message.iter_parts()
    assert "a.example, from 1970-01-10T00:00:00Z to 1970-01-10T23:59:59Z" in text.get_content()
    assert attached.get_content_type() == "application/gzip"
    assert attached.get_filename() == f"mail.example.org!a.example!{9 * DAY}!{10 * DAY - 1}!{id}.xml.gz"
    xml = gzip.decompress(attached.get_content()).decode()
    assert f"<report_id>{id}</report_id>" in xml and xml.count("<record>") == 2
    assert "<source_ip>192.0.2.1</source_ip><count>2</count>" in xml


def test_a_report_each_day(stand: Stand) -> None:
    stand.count("a.example")
    stand.count("b.example")
    stand.count("c.example", "https://c.example")
    assert sorted(stand.next_day()) == ["no address of the record can be used", "r@a.example", "r@b.example"]
    assert stand.next_day() == []
    stand.count("b.example")
    assert stand.next_day() == ["r@b.example"]
    stand.reports.stopService()
    assert stand.reactor.getDelayedCalls() == []


def test_sizes(stand: Stand) -> None:
    stand.count("a.example", "mailto:few@a.example!1k,mailto:all@a.example!10m")
    assert stand.next_day() == ["all@a.example"]
    assert b"To: all@a.example\r\n" in stand.sent[0][2]
    stand.count("a.example", "mailto:few@a.example!1k")
    [reason] = stand.next_day()
    assert reason.startswith("it has ") and reason.endswith(" octets, more than its recipients accept")


def test_the_spool_fails(stand: Stand) -> None:
    stand.answer = fail(StorageError("the disk is full"))
    stand.count("a.example")
    assert stand.next_day() == ["r@a.example", "the disk is full"]
    assert stand.next_day() == []


def test_a_silent_domain_delays_no_other(stand: Stand) -> None:
    silent = [f"{number}.example" for number in range(AT_ONCE)]
    for domain in silent:
        question = f"{domain}._report._dmarc.victim.test"
        stand.resolver.delays[question, "TXT"] = 10 * DAY
        stand.count(domain, "mailto:v@victim.test")
    stand.resolver.records["b.example._report._dmarc.other.test", "TXT"] = DNSFailure("SERVFAIL")
    stand.count("b.example", "mailto:x@other.test,mailto:r@b.example")
    assert "r@b.example" in stand.next_day()


def test_a_reload(tmp_path: Path) -> None:
    stand = Stand(tmp_path / "mailserver.toml", "")
    stand.count("a.example")
    assert stand.next_day() == []
    stand.reload("dmarc_reports = true")
    stand.count("a.example")
    stand.reload("")
    assert stand.next_day() == []  # what was counted is discarded
    stand.reload("dmarc_reports = true")
    stand.count("a.example")
    assert stand.next_day() == ["r@a.example"]


def test_stopping_while_it_sends(stand: Stand) -> None:
    stand.resolver.delays["a.example._report._dmarc.x.test", "TXT"] = 9.0
    stand.resolver.records["a.example._report._dmarc.x.test", "TXT"] = [b"v=DMARC1"]
    stand.count("a.example", "mailto:r@x.test")
    stand.reactor.advance(DAY + SPREAD)
    assert ("a.example._report._dmarc.x.test", "TXT") in stand.resolver.asked
    stand.reports.stopService()
    stand.reactor.advance(2 * DAY)
    assert stand.sent == [] and stand.reactor.getDelayedCalls() == []
