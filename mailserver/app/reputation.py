"""The checks of the reputation of clients, from the configuration."""

from collections.abc import Sequence

from mailserver.config.keys.top_level import Config
from mailserver.dns.interfaces import IResolver
from mailserver.interfaces import IReactor
from mailserver.net.expiring_table import ExpiringTable
from mailserver.policy.reputation.check import ReputationCheck
from mailserver.policy.reputation.dnsbl import DnsblZone
from mailserver.policy.reputation.lookup import ClientReputation, NameWeights, ReputationLookup
from mailserver.policy.strangers import inside

MOST_CLIENTS = 10_000
LIFETIME = 60.0  # seconds; the answers themselves are in the cache of the resolver


def reputation_checks(config: Config, resolver: IResolver, reactor: IReactor) -> Sequence[object]:
    """The check of the reputation of clients; none if no key asks for it."""
    policy = config.policy
    if not (config.dnsbl or policy.reverse_dns_weight or policy.helo_weight):
        return ()
    exempt = policy.exempt if policy.exempt is not None else config.relay.networks
    remembered: ExpiringTable[tuple[str, str], ClientReputation] = ExpiringTable(
        MOST_CLIENTS, LIFETIME, reactor.seconds
    )
    lookup = ReputationLookup(
        zones(config),
        NameWeights(reverse_dns=policy.reverse_dns_weight, helo=policy.helo_weight),
        resolver,
        reactor,
        remembered,
        hostname=config.hostname,
    )
    return (ReputationCheck(lookup, policy.score_threshold, inside(exempt)),)


def zones(config: Config) -> Sequence[DnsblZone]:
    """The lists of the configuration."""
    return [
        DnsblZone(
            section.zone,
            f"dnsbl[{number}]",
            section.action,
            tuple((codes.first, codes.last) for codes in section.codes),
            section.weight,
        )
        for number, section in enumerate(config.dnsbl, 1)
    ]
