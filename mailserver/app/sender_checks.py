"""The checks of senders, from the section [policy] of a configuration."""

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from mailserver.app.reputation import BuiltReputation, exempt_networks
from mailserver.config.keys.top_level import Config
from mailserver.dns.interfaces import IResolver
from mailserver.policy.dmarc.aggregate import AggregateRow
from mailserver.policy.dmarc.record import DMARCRecord
from mailserver.policy.sender_authentication import SenderAuthentication
from mailserver.policy.sender_verdict import SenderRules
from mailserver.policy.strangers import inside


def sender_checks(
    config: Config,
    reputation: BuiltReputation,
    *,
    resolver: IResolver,
    clock: IReactorTime,
    count: Callable[[DMARCRecord, AggregateRow], None] | None = None,
) -> Sequence[SenderAuthentication]:
    """The check of senders; none if it is off.

    ``reputation`` has the other checks. ``count`` counts the results of DMARC for reports, if the
    configuration wants any.
    """
    policy = config.policy
    rules = SenderRules(
        spf=policy.spf,
        dkim=policy.dkim,
        dmarc=policy.dmarc,
        on_error=policy.on_error,
        deadline=policy.deadline,
        trusted_forwarders=frozenset(policy.trusted_forwarders),
    )
    if rules.are_off:
        return ()
    is_exempt = inside(exempt_networks(config))
    return (
        SenderAuthentication(
            rules,
            is_exempt,
            resolver,
            clock,
            hostname=config.hostname,
            reputation=reputation.known,
            signed=reputation.signed,
            count=count if policy.dmarc_reports else None,
        ),
    )
