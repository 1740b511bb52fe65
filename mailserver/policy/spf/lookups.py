"""Evaluates SPF over a resolver, within a time."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailserver.dns.interfaces import IResolver
from mailserver.policy.lookups import StartedEvaluation
from mailserver.policy.result_cache import ResultCache
from mailserver.policy.spf.evaluator import checked_domain, evaluate
from mailserver.policy.spf.values import SPFRequest, SPFResult
from mailserver.reception.checks import started

MAX_TIME = 20.0  # seconds for an evaluation; RFC 7208 section 4.6.4 asks for at least so many


async def check_spf(
    resolver: IResolver,
    clock: IReactorTime,
    request: SPFRequest,
    seconds: float = MAX_TIME,
    known: ResultCache[SPFResult] | None = None,
) -> SPFResult:
    """The result for a client and its message.

    It is "temperror" if DNS fails, or does not give all answers in ``seconds``. ``known`` has results of
    this resolver for this server. May be cancelled.
    """
    domain = checked_domain(request)
    key = request.ip, request.helo, domain, request.reverse_path is None
    found = None if known is None else known.get(key)
    if found is not None:
        return found

    def give_up(result: object, _: float) -> SPFResult:
        problem = f"DNS has not answered within {seconds:.3g} seconds"
        return SPFResult("temperror", domain, problem=problem)

    evaluation = StartedEvaluation(resolver, evaluate(request))
    work = started(evaluation.result())
    if isinstance(work, Deferred):
        return await (work if work.called else work.addTimeout(seconds, clock, give_up))
    if known is not None and not work.personal:
        known.put(key, work, evaluation.ttl)
    return work
