"""The evaluator against a table by sections of RFC 7208: ``cases.toml`` in this folder."""

import tomllib
from pathlib import Path

import pytest

from mailserver.mail.address import Address
from mailserver.policy.spf.values import SPFRequest
from tests.support.spf import ZoneAnswers, read_zone

TABLE = tomllib.loads((Path(__file__).parent / "cases.toml").read_text(encoding="utf-8"))
KEYS = {"sender", "helo", "zone", "mechanism", "explanation", "problem", "asked"}
CASES = [
    pytest.param(*case, *([{}] if len(case) == 4 else []), id=f"{group['section']}: {case[0]}")
    for group in TABLE["group"]
    for case in group["cases"]
]


@pytest.mark.parametrize(("about", "record", "ip", "expected", "more"), CASES)
def test_case(about, record, ip, expected, more) -> None:
    assert more.keys() <= KEYS
    zone = TABLE["zone"] | more.get("zone", {})
    if record:
        zone["sender.example"] = [*zone["sender.example"], f"TXT {record}"]
    answers = ZoneAnswers(read_zone(zone))
    local, _, domain = more.get("sender", "user@sender.example").rpartition("@")
    result = answers.evaluate(
        SPFRequest(
            ip=ip,
            helo=more.get("helo", "mail.sender.example"),
            reverse_path=Address(local, domain) if domain else None,
        )
    )
    assert result.result == expected, result
    for key in ("mechanism", "explanation"):
        assert getattr(result, key) == more.get(key, getattr(result, key))
    assert more.get("problem", "") in result.problem
    assert bool(result.problem) == (expected in ("none", "temperror", "permerror"))
    asked = [f"{question.name} {question.kind}" for question in answers.asked]
    if "asked" in more:
        assert [question for question in asked if question != "sender.example TXT"] == more["asked"]
