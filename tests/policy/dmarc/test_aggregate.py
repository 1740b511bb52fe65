"""Aggregate reports as XML, by the schema of RFC 9990: what strangers write cannot break them."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dmarc.aggregate import (
    NAMESPACE,
    AggregateReport,
    AggregateRow,
    as_text,
    disposition_of,
    override_reason,
    signatures,
)
from mailserver.policy.dmarc.evaluator import DMARCResult
from mailserver.policy.dmarc.record import DMARCRecord, read_dmarc

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parent / "rfc9990.xsd")))
ROW = AggregateRow(
    ip="192.0.2.1", disposition="none", dkim_aligned=False, spf_aligned=True, reason="local_policy",
    header_from="sub.example.com", envelope_from="example.com",
    dkim=(("example.com", "s1", "pass"), ("other.example", "", "permerror")), spf=("example.com", "softfail"),
)  # fmt: skip


def record(text: str) -> DMARCRecord:
    found = read_dmarc(b"v=DMARC1;" + text.encode(), "example.com")
    assert found is not None
    return found


def plain(element: ElementTree.Element) -> Any:
    return [plain(one) for one in element] or element.text or ""


def xml(*rows: AggregateRow) -> bytes:
    report = AggregateReport(
        id="1m81yw237y5dnr66", organization="mail.example.net", email="p@example.net",
        generator="mailserver 1", begin=86400, end=172799,
        policy=record("p=reject; sp=quarantine; np=none; aspf=s; t=y"), rows=dict.fromkeys(rows, 7),
    )  # fmt: skip
    octets = report.xml()
    SCHEMA.assertValid(etree.fromstring(octets))
    return octets


def test_the_document() -> None:
    octets = xml(ROW)
    root = ElementTree.fromstring(octets)
    assert root.tag == f"{{{NAMESPACE}}}feedback"
    assert octets.startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    assert plain(root) == [
        "1.0",
        ["mail.example.net", "p@example.net", "1m81yw237y5dnr66", ["86400", "172799"], "mailserver 1"],
        ["example.com", "reject", "quarantine", "none", "r", "s", "treewalk", "y"],
        [
            ["192.0.2.1", "7", ["none", "fail", "pass", ["local_policy"]]],
            ["sub.example.com", "example.com"],
            [
                ["example.com", "s1", "pass"],
                ["other.example", "", "permerror"],
                ["example.com", "mfrom", "softfail"],
            ],
        ],
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"dkim": (), "spf": ("", "none"), "envelope_from": "", "reason": ""},
        {"ip": "2001:db8::1", "disposition": "pass", "dkim_aligned": True, "reason": ""},
        {"disposition": "quarantine", "reason": "policy_test_mode"},
        {"disposition": "reject", "reason": ""},
        {"reason": "trusted_forwarder"},
        *({"spf": ("a.example", word)} for word in ("neutral", "pass", "fail", "temperror", "permerror")),
        *({"dkim": (("a.example", "s", word),)} for word in ("fail", "policy", "neutral", "temperror")),
    ],
)
def test_all_results_are_valid(changes: dict[str, Any]) -> None:
    xml(ROW, attrs.evolve(ROW, **changes))


HOSTILE = "</domain><count>9</count>&amp;\x00\x1b\r\n\ud800\ufffe]]>\"'<!--"


def test_what_strangers_write_stays_text() -> None:
    row = attrs.evolve(
        ROW,
        header_from=HOSTILE,
        envelope_from=HOSTILE,
        dkim=((HOSTILE, HOSTILE, "fail"),),
        spf=(HOSTILE, "none"),
    )
    octets = xml(row)
    root = ElementTree.fromstring(octets)
    read = "</domain><count>9</count>&amp;" + "\ufffd" * 6 + "]]>\"'<!--"
    found = [one.text for one in root.iter() if one.text and "count" in one.text]
    assert found == [read] * 5
    assert octets.count(b"\n") == 1  # after the declaration


@given(st.text(), st.text())
def test_any_text_can_be_read_again(text: str, other: str) -> None:
    root = ElementTree.fromstring(xml(attrs.evolve(ROW, header_from=text, spf=(other, "none"))))
    assert root.findtext(f".//{{{NAMESPACE}}}header_from") == as_text(text)
    assert len(as_text(text)) <= 255


def test_the_most_important_signatures_come_first() -> None:
    found = [
        DKIMResult(result="fail", domain="example.com", selector="a"),
        DKIMResult(result="pass", domain="list.example", selector="b"),
        DKIMResult(result="neutral"),  # its domain cannot be read
        DKIMResult(result="pass", domain="Example.com", selector="c"),
        DKIMResult(result="pass", domain="sub.example.com", selector="d"),
    ]
    assert [selector for _, selector, _ in signatures(found, "example.com")] == ["c", "d", "b", "a"]


@pytest.mark.parametrize(
    ("result", "author", "text", "policy", "applied", "forwarder", "expected"),
    [
        ("pass", "example.com", "p=reject", "none", "none", "", ("pass", "")),
        ("pass", "example.com", "p=none; sp=reject", "none", "none", "", ("none", "")),
        ("pass", "a.example.com", "p=none; sp=reject", "none", "none", "", ("pass", "")),
        ("pass", "a.example.com", "p=reject; np=none", "none", "none", "", ("none", "")),
        ("fail", "example.com", "p=none", "none", "none", "", ("none", "")),
        ("fail", "example.com", "p=reject", "reject", "reject", "", ("reject", "")),
        ("fail", "example.com", "p=quarantine", "quarantine", "quarantine", "", ("quarantine", "")),
        ("fail", "example.com", "p=reject", "reject", "none", "", ("none", "local_policy")),
        ("fail", "example.com", "p=reject", "reject", "none", "f.example", ("none", "trusted_forwarder")),
        ("fail", "example.com", "p=none", "none", "none", "f.example", ("none", "")),
        (
            "fail", "example.com", "p=reject; t=y", "quarantine", "quarantine", "",
            ("quarantine", "policy_test_mode"),
        ),
        ("fail", "example.com", "p=quarantine; t=y", "none", "none", "", ("none", "policy_test_mode")),
        ("fail", "example.com", "p=none; t=y", "none", "none", "", ("none", "")),
    ],
)  # fmt: skip
def test_dispositions(result, author, text, policy, applied, forwarder, expected) -> None:
    dmarc = DMARCResult(result=result, domain=author, policy=policy, record=record(text))
    assert (disposition_of(dmarc, applied), override_reason(dmarc, applied, forwarder)) == expected
