"""Results of DMARC by day and domain, and what bounds them."""

import attrs
import pytest

from mailserver.mail.daily_report import DAY
from mailserver.policy.dmarc import daily_results
from mailserver.policy.dmarc.aggregate import AggregateRow
from mailserver.policy.dmarc.daily_results import DMARCResults
from mailserver.policy.dmarc.record import DMARCRecord

A, B = DMARCRecord(domain="a.example"), DMARCRecord(domain="b.example")
ROW = AggregateRow(
    ip="192.0.2.1", disposition="none", dkim_aligned=False, spf_aligned=False, reason="",
    header_from="a.example", envelope_from="", dkim=(("a.example", "s", "pass"),), spf=("a.example", "none"),
)  # fmt: skip
OTHER = attrs.evolve(ROW, ip="192.0.2.2")


class Counting:
    def __init__(self, *, enabled: bool = True) -> None:
        self.now = 3.5 * DAY
        self.results = DMARCResults(lambda: self.now, enabled=enabled)

    def taken(self) -> dict[int, dict[str, list[int]]]:
        days = self.results.take()
        return {day: {name: list(one.rows.values()) for name, one in days[day].items()} for day in days}


def test_days_and_domains() -> None:
    counting = Counting()
    changed = attrs.evolve(A, policy="reject")
    for policy, row in ((A, ROW), (B, ROW), (A, OTHER), (changed, ROW)):
        counting.results.count(policy, row)
    assert counting.taken() == {}
    counting.now += DAY
    counting.results.count(B, ROW)
    days = counting.results.take()
    assert list(days) == [3] and days[3]["a.example"].policy is changed
    assert dict(days[3]["a.example"].rows) == {ROW: 2, OTHER: 1} and dict(days[3]["b.example"].rows) == {
        ROW: 1
    }
    counting.now += DAY
    assert counting.taken() == {4: {"b.example": [1]}}


def test_nothing_is_counted_while_it_is_off() -> None:
    counting = Counting(enabled=False)
    counting.results.count(A, ROW)
    counting.now += DAY
    assert counting.taken() == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MOST_DOMAINS", 1, {"a.example": [2, 1]}),
        ("MOST_ROWS", 1, {"a.example": [2], "b.example": [1]}),
        ("MOST_OCTETS", 700, {"a.example": [2], "b.example": []}),
    ],
)
def test_bounds(monkeypatch, name: str, value: int, expected: dict[str, list[int]]) -> None:
    """What is counted already goes on."""
    monkeypatch.setattr(daily_results, name, value)
    counting = Counting()
    for policy, row in ((A, ROW), (A, OTHER), (B, ROW), (A, ROW)):
        counting.results.count(policy, row)
    counting.now += DAY
    assert counting.taken() == {3: expected}
