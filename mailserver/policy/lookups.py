"""Runs the evaluations of checks over a resolver."""

from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

from mailserver.dns.interfaces import IResolver
from mailserver.errors import DNSFailure
from mailserver.policy.questions import Evaluation, PolicyQuestion, PolicyReply

_Result = TypeVar("_Result")


async def answered(resolver: IResolver, evaluation: Evaluation[_Result]) -> _Result:
    """The result of an evaluation, whose questions go to a resolver. A failure of DNS is a reply, too."""
    try:
        questions = next(evaluation)
        while True:
            lookups = [Deferred.fromCoroutine(_reply(resolver, question)) for question in questions]
            replies = await gatherResults(lookups, consumeErrors=True)
            questions = evaluation.send(dict(zip(questions, replies, strict=True)))
    except StopIteration as end:
        result: _Result = end.value
        return result
    except FirstError as error:  # the lookups were cancelled
        error.subFailure.raiseException()


async def _reply(resolver: IResolver, question: PolicyQuestion) -> PolicyReply:
    try:
        answer = await resolver.lookup(question.name, question.kind)
    except DNSFailure as error:
        return PolicyReply(failed=True, reason=str(error))
    records = answer.records
    if question.kind == "MX":
        records = tuple(mx.host for mx in sorted(records))
    return PolicyReply(records, answer.exists)
