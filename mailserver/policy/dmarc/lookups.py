"""Evaluates DMARC over a resolver."""

from collections.abc import Sequence

from mailserver.dns.interfaces import IResolver
from mailserver.policy.dmarc.author import author_domain
from mailserver.policy.dmarc.evaluator import DMARCResult, evaluate_author, evaluate_dmarc
from mailserver.policy.lookups import StartedEvaluation, answered
from mailserver.policy.result_cache import ResultCache


async def check_dmarc(
    resolver: IResolver,
    head: bytes,
    *,
    spf: str,
    dkim: Sequence[str],
    known: ResultCache[DMARCResult],
) -> DMARCResult:
    """The result for a message; see :func:`~mailserver.policy.dmarc.evaluator.evaluate_dmarc`.

    ``known`` has results of this resolver.
    """
    try:
        author = author_domain(head)
    except ValueError:
        return await answered(resolver, evaluate_dmarc(head, spf=spf, dkim=dkim))
    key = author, spf, tuple(dkim)
    result = known.get(key)
    if result is None:
        evaluation = StartedEvaluation(resolver, evaluate_author(author, spf=spf, dkim=dkim))
        result = await evaluation.result()
        known.put(key, result, evaluation.ttl)
    return result
