"""Evaluates SPF over a resolver, within a time."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailserver.dns.interfaces import IResolver
from mailserver.policy.lookups import answered
from mailserver.policy.spf.evaluator import checked_domain, evaluate
from mailserver.policy.spf.values import SPFRequest, SPFResult

MAX_TIME = 20.0  # seconds for an evaluation; RFC 7208 section 4.6.4 asks for at least so many


async def check_spf(
    resolver: IResolver, clock: IReactorTime, request: SPFRequest, seconds: float = MAX_TIME
) -> SPFResult:
    """The result for a client and its message.

    It is "temperror" if DNS fails, or does not give all answers in ``seconds``. May be cancelled.
    """

    def give_up(result: object, _: float) -> SPFResult:
        problem = f"DNS has not answered within {seconds:.3g} seconds"
        return SPFResult("temperror", checked_domain(request), problem=problem)

    work = Deferred.fromCoroutine(answered(resolver, evaluate(request)))
    return await (work if work.called else work.addTimeout(seconds, clock, give_up))
