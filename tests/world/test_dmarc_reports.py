"""Aggregate reports of DMARC from end to end: mail arrives, a day passes, and those who ask get a report."""

import email
import gzip
from email import policy
from pathlib import Path

import dkim as dkimpy
import pytest
from lxml import etree

from mailserver.policy.dkim.keys import key_record, make_key, write_pem
from tests.support.senders.mail import mail, txt
from tests.support.world import DAY, World, world

TABLES = """
[policy]
dmarc = "enforce"
dmarc_reports = true
exempt = []
[[dkim]]
domain = "example.org"
selector = "s1"
key = "s1.pem"
"""
RUA = "mailto:r@good.example,mailto:x@collector.example!10m,mailto:v@victim.example,https://good.example/"
NAMES = {"d": "urn:ietf:params:xml:ns:dmarc-2.0"}


def fill(here: World) -> None:
    for name, text in {
        "good.example": "v=spf1 ip4:127.0.0.1 -all",
        "_dmarc.good.example": f"v=DMARC1; p=reject; rua={RUA}",
        "good.example._report._dmarc.collector.example": "v=DMARC1",
        "_dmarc.quiet.example": "v=DMARC1; p=none",
    }.items():
        here.zone.add(txt(name, text))
    for name in ("good.example", "collector.example", "victim.example", "quiet.example"):
        here.domain(name)


def texts(root: etree._Element, name: str) -> list[str | None]:
    return [one.text for one in root.iterfind(f".//d:{name}", NAMES)]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_report(tmp_path: Path, wanted: bool) -> None:
    key = make_key("ed25519")
    (tmp_path / "s1.pem").write_bytes(write_pem(key))
    tables = TABLES if wanted else TABLES.replace("dmarc_reports = true\n", "")
    with world(tmp_path, tables) as here:
        fill(here)
        to = "alice@example.org"
        assert here.send(to, sender="a@good.example", content=mail()) == {}
        with pytest.raises(Exception, match="policy is to reject it"):
            here.send(to, sender="b@quiet.example", content=mail("b@sub.good.example"))
        assert here.send(to, sender="b@quiet.example", content=mail("b@quiet.example")) == {}
        here.reactor.pass_time(1.5 * DAY)
        assert set(here.copies()) == ({"r@good.example", "x@collector.example"} if wanted else set())
        if not wanted:
            return
        [at_good], [at_collector] = (here.sides[f"mx.{name}.example"].kept for name in ("good", "collector"))
        assert at_good.sender == "" and at_good.content == at_collector.content
        keys = {"s1._domainkey.example.org": key_record(key).encode()}
        assert dkimpy.verify(
            at_good.content, dnsfunc=lambda name, timeout=5: keys.get(name.decode().rstrip("."))
        )
        message = email.message_from_bytes(at_good.content, policy=policy.SMTP)
        root = etree.fromstring(gzip.decompress([*message.iter_parts()][1].get_content()))
        assert texts(root, "org_name") == ["mail.example.org"]
        assert texts(root, "header_from") == ["good.example", "sub.good.example"]
        assert texts(root, "envelope_from") == ["good.example", "quiet.example"]
        assert texts(root, "disposition") == ["pass", "reject"]
        assert texts(root, "count") == ["1", "1"] and texts(root, "source_ip") == ["127.0.0.1"] * 2
        # A report of the other server about ours is no reason for another one.
        report = mail("a@good.example", "Subject: Report Domain: example.org Submitter: good.example")
        assert here.send(to, sender="a@good.example", content=report) == {}
        here.reactor.pass_time(1.5 * DAY)
        assert here.copies().total() == 2
