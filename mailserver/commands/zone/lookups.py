"""Looks up the records of a domain."""

from collections.abc import Sequence
from typing import NoReturn

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from mailserver.commands.zone.published import (
    DNSRecordQuestion,
    PublishedRecords,
    RecordReport,
    WantedRecord,
)
from mailserver.dns.interfaces import IResolver
from mailserver.dns.records import DNSAnswer, RecordKind
from mailserver.errors import DNSFailure
from mailserver.policy.spf.lookups import check_spf
from mailserver.policy.spf.values import SPFResult

MAX_SECONDS = 10.0  # for a lookup


async def look_up(
    resolver: IResolver, clock: IReactorTime, wanted: Sequence[WantedRecord]
) -> tuple[RecordReport, ...]:
    """The state of each record. A failure of DNS makes it "unknown"."""
    questions = list(dict.fromkeys(question for record in wanted for question in record.questions))
    found = await gatherResults([_answering(resolver, clock, question) for question in questions])
    answers = dict(zip(questions, found, strict=True))
    requests = list(
        dict.fromkeys(
            request
            for record in wanted
            for request in record.spf
            if isinstance(answers[record.questions[0]], DNSAnswer)
        )
    )
    results: list[SPFResult] = await gatherResults(
        [Deferred.fromCoroutine(check_spf(resolver, clock, request)) for request in requests]
    )
    published = PublishedRecords(answers, dict(zip(requests, results, strict=True)))
    return tuple(RecordReport(record, record.state(published)) for record in wanted)


async def host_addresses(resolver: IResolver, clock: IReactorTime, hostname: str) -> tuple[str, ...]:
    """The addresses of a host, none if DNS fails."""
    kinds: tuple[RecordKind, ...] = ("A", "AAAA")
    answers = await gatherResults([_answering(resolver, clock, (hostname, kind)) for kind in kinds])
    return tuple(one for answer in answers if isinstance(answer, DNSAnswer) for one in answer.records)


def _answering(
    resolver: IResolver, clock: IReactorTime, question: DNSRecordQuestion
) -> "Deferred[DNSAnswer | str]":
    return Deferred.fromCoroutine(_answer(resolver, clock, question))


async def _answer(resolver: IResolver, clock: IReactorTime, question: DNSRecordQuestion) -> DNSAnswer | str:
    name, kind = question

    def give_up(result: object, seconds: float) -> NoReturn:
        raise DNSFailure(f"DNS lookup of {name} ({kind}) failed: no answer within {seconds:.3g} seconds")

    try:
        return await resolver.lookup(name, kind).addTimeout(MAX_SECONDS, clock, give_up)
    except DNSFailure as error:
        return str(error)
