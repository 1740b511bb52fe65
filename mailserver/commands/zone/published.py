"""What DNS has, and what a comparison with it finds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import attrs

from mailserver.dns.records import DNSAnswer, RecordKind
from mailserver.errors import DNSFailure
from mailserver.policy.spf.values import SPFRequest, SPFResult

MAX_SHOWN = 300  # characters of a record in a report

DNSRecordQuestion = tuple[str, RecordKind]
RecordStatus = Literal["right", "missing", "different", "unknown"]


@attrs.frozen
class RecordState:
    """The state of a record in DNS.

    ``effect`` says what that does, or is "". ``there`` are the records that DNS has.
    """

    status: RecordStatus
    effect: str = ""
    there: tuple[str, ...] = ()


@attrs.frozen
class PublishedRecords:
    """The answers of DNS, or the reason why a lookup has failed; and results of SPF."""

    answers: Mapping[DNSRecordQuestion, DNSAnswer | str]
    spf: Mapping[SPFRequest, SPFResult] = attrs.field(factory=dict)

    def records(self, name: str, kind: RecordKind) -> Sequence[Any]:
        """The records of a name, none if its lookup has failed."""
        answer = self.answers[name, kind]
        return () if isinstance(answer, str) else answer.records

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name. Raises :class:`DNSFailure` if there are none and a lookup has failed."""
        found = (*self.records(name, "A"), *self.records(name, "AAAA"))
        for answer in (self.answers[name, "A"], self.answers[name, "AAAA"]):
            if isinstance(answer, str) and not found:
                raise DNSFailure(answer)
        return found

    def canonical(self, name: str, kind: RecordKind) -> str:
        """The name at the end of the aliases of a name."""
        answer = self.answers[name, kind]
        return name if isinstance(answer, str) else answer.canonical

    def is_secure(self, name: str, kind: RecordKind) -> bool:
        """Whether DNSSEC protects the answer."""
        answer = self.answers[name, kind]
        return not isinstance(answer, str) and answer.secure


@attrs.frozen(kw_only=True)
class WantedRecord:
    """A record that the domain should have.

    ``data`` is as in a master file, ``purpose`` says what the record is for. ``optional``: the record needs
    something beside DNS, and without that it is of no use. ``elsewhere``: the zone file cannot have the
    record, because it is in the zone of another, or because ``data`` is only described. ``compare`` has the
    answers to ``questions``, and the results of ``spf``.
    """

    name: str
    kind: RecordKind
    data: str
    purpose: str
    compare: Callable[[PublishedRecords], RecordState]
    questions: tuple[DNSRecordQuestion, ...]
    spf: tuple[SPFRequest, ...] = ()
    optional: bool = False
    elsewhere: bool = False

    def state(self, published: PublishedRecords) -> RecordState:
        """The state of the record, "unknown" if its first question has no answer."""
        answer = published.answers[self.questions[0]] if self.questions else None
        if isinstance(answer, str):
            return RecordState("unknown", answer)
        try:
            return self.compare(published)
        except DNSFailure as error:
            return RecordState("unknown", str(error))


@attrs.frozen
class RecordReport:
    """A record and its state."""

    record: WantedRecord
    state: RecordState

    @property
    def is_problem(self) -> bool:
        """Whether somebody should act: an optional record may be missing."""
        status = self.state.status
        return status != "right" and not (status == "missing" and self.record.optional)


def shown(text: bytes) -> str:
    """The text of a TXT record for a report. A stranger may have written it."""
    written = text.decode("ascii", "backslashreplace")
    return written if len(written) <= MAX_SHOWN else f"{written[:MAX_SHOWN]}…"
