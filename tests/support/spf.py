"""DNS for SPF evaluations: a zone in a dictionary."""

from collections.abc import Mapping
from typing import Any

import attrs

from mailserver.policy.questions import PolicyQuestion, PolicyReply
from mailserver.policy.spf.evaluator import evaluate
from mailserver.policy.spf.values import SPFRequest, SPFResult

MAX_ALIASES = 10

Zone = Mapping[str, Mapping[str, Any]]
"""By lower-case name and kind: the records, or None for a failure. The kind "*" is all others of the name."""


def read_zone(lines: Mapping[str, list[str]]) -> Zone:
    """A zone of lines for each name: the kind and the record, for MX the host alone. FAIL is a failure."""
    zone: dict[str, dict[str, Any]] = {}
    for name, records in lines.items():
        kept = zone.setdefault(name, {})
        for line in records:
            kind, _, text = line.partition(" ")
            if kind == "FAIL":
                kept["*"] = None
            else:
                kept.setdefault(kind, []).append(text.encode() if kind == "TXT" else text)
    return zone


@attrs.frozen
class ZoneAnswers:
    """Answers questions from a zone; ``asked`` has them in their order."""

    zone: Zone
    asked: list[PolicyQuestion] = attrs.field(factory=list)

    def evaluate(self, request: SPFRequest) -> SPFResult:
        steps = evaluate(request)
        try:
            questions = next(steps)
            while True:
                self.asked.extend(questions)
                questions = steps.send({one: self._reply(one.name, one.kind) for one in questions})
        except StopIteration as end:
            return end.value

    def _reply(self, name: str, kind: str) -> PolicyReply:
        for _ in range(MAX_ALIASES):
            records = self.zone.get(name, {})
            found = records.get(kind, records.get("*", ()))
            if found is None:
                return PolicyReply(failed=True, reason=f"no answer for {name}")
            if found or "CNAME" not in records:
                return PolicyReply(tuple(found))
            name = records["CNAME"][0].lower().removesuffix(".")
        return PolicyReply(failed=True, reason=f"{name} is an alias of itself")
