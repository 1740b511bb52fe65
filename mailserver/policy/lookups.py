"""Runs the evaluations of checks over a resolver."""

import math
from collections.abc import Mapping, Sequence
from typing import Generic, NoReturn, TypeVar

from twisted.internet.defer import CancelledError, Deferred, FirstError, fail, gatherResults
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailserver.dns.interfaces import IResolver
from mailserver.dns.records import DNSAnswer, RecordKind
from mailserver.errors import DNSFailure
from mailserver.policy.questions import Evaluation, PolicyQuestion, PolicyReply

_Result = TypeVar("_Result")
_Questions = tuple[PolicyQuestion, ...]
_Replies = Mapping[PolicyQuestion, PolicyReply]


async def answered(resolver: IResolver, evaluation: Evaluation[_Result]) -> _Result:
    """The result of an evaluation, whose questions go to a resolver. A failure of DNS is a reply, too."""
    return await StartedEvaluation(resolver, evaluation).result()


async def together(lookups: Sequence[Deferred[_Result]]) -> Sequence[_Result]:
    """The results of lookups that run at the same time. Raises what the first of them raises."""
    try:
        return await gatherResults(lookups, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()


class StartedEvaluation(Generic[_Result]):
    """An evaluation whose first questions are asked at once, and which goes on when its result is wanted.

    ``ttl`` is the time in seconds for which all answers so far stay valid, 0 if one of them had to be waited
    for.
    """

    def __init__(self, resolver: IResolver, evaluation: Evaluation[_Result]) -> None:
        self._resolver = resolver
        self._evaluation = evaluation
        self.ttl = math.inf
        self._replies: Deferred[_Replies] | _Replies | None = None
        try:
            self._ask(next(evaluation))
        except StopIteration as end:
            self._result: _Result = end.value

    def _ask(self, questions: _Questions) -> None:
        replies: dict[PolicyQuestion, PolicyReply] = {}
        unknown: list[PolicyQuestion] = []
        for question in questions:
            # What is in the cache needs no Deferred.
            answer = self._resolver.known(question.name, question.kind)
            if answer is None:
                unknown.append(question)
            else:
                replies[question] = _read(answer, question)
                self.ttl = min(self.ttl, answer.ttl)
        if unknown:
            self.ttl = 0.0
            self._replies = Deferred.fromCoroutine(_looked_up(self._resolver, unknown, replies))
        else:
            self._replies = replies

    async def result(self) -> _Result:
        """The result. May be called once."""
        while self._replies is not None:
            replies = await self._replies if isinstance(self._replies, Deferred) else self._replies
            try:
                self._ask(self._evaluation.send(replies))
            except StopIteration as end:
                self._replies = None
                self._result = end.value
        return self._result

    def stop(self) -> None:
        """Nobody wants the result."""
        if isinstance(self._replies, Deferred):
            self._replies.addErrback(lambda failure: failure.trap(CancelledError) and {})
            self._replies.cancel()


@implementer(IResolver)
class LimitedResolver:
    """A resolver whose lookups fail when the time is over, so that a check goes on with what is known."""

    def __init__(self, resolver: IResolver, clock: IReactorTime, seconds: float) -> None:
        """``seconds`` from now on for all lookups together."""
        self._resolver = resolver
        self._clock = clock
        self._end = clock.seconds() + seconds

    def lookup(self, name: str, kind: RecordKind) -> Deferred[DNSAnswer]:
        """See :class:`~mailserver.dns.interfaces.IResolver`."""

        def give_up(result: object, seconds: float) -> NoReturn:
            raise DNSFailure(f"DNS lookup of {name} ({kind}) failed: no answer in time")

        left = self._end - self._clock.seconds()
        if left <= 0:
            return fail(DNSFailure(f"DNS lookup of {name} ({kind}) failed: the time is over"))
        found = self._resolver.lookup(name, kind)
        return found if found.called else found.addTimeout(left, self._clock, give_up)

    def known(self, name: str, kind: RecordKind) -> DNSAnswer | None:
        """See :class:`~mailserver.dns.interfaces.IResolver`."""
        return self._resolver.known(name, kind)


async def _looked_up(resolver: IResolver, questions: Sequence[PolicyQuestion], known: _Replies) -> _Replies:
    found = await together([Deferred.fromCoroutine(_reply(resolver, question)) for question in questions])
    return {**known, **dict(zip(questions, found, strict=True))}


async def _reply(resolver: IResolver, question: PolicyQuestion) -> PolicyReply:
    try:
        return _read(await resolver.lookup(question.name, question.kind), question)
    except DNSFailure as error:
        return PolicyReply(failed=True, reason=str(error))


def _read(answer: DNSAnswer, question: PolicyQuestion) -> PolicyReply:
    records = answer.records
    if question.kind == "MX":
        records = tuple(mx.host for mx in sorted(records))
    return PolicyReply(records, answer.exists)
