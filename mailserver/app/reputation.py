"""The checks of the reputation of clients and senders, from the configuration."""

import ipaddress
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NoReturn

import attrs
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime

from mailserver.accounts.history import MAX_TIME, ContactHistory
from mailserver.accounts.memory_history import MemoryHistory
from mailserver.accounts.sqlite.history import SQLiteHistory
from mailserver.app.data import history_file
from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.mail_kinds import Network
from mailserver.dns.interfaces import IResolver
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.interfaces import IReactor
from mailserver.mail.seen import Seen, SeenKey
from mailserver.mail.verdict import Defer
from mailserver.net.expiring_table import ExpiringTable
from mailserver.policy.delays import Delays
from mailserver.policy.first_contact import FirstContact, FirstContactDelay
from mailserver.policy.greylisting import Greylisting, GreylistRules
from mailserver.policy.history import Correspondents, Found, History
from mailserver.policy.reputation.check import ReputationCheck
from mailserver.policy.reputation.dnsbl import DnsblZone
from mailserver.policy.reputation.lookup import NameWeights, ReputationLookup
from mailserver.policy.reputation.values import ClientReputation
from mailserver.policy.signed_senders import SignedSenders
from mailserver.policy.strangers import inside
from mailserver.reception.checks import IRoutedCheck
from mailserver.reception.transaction import Client
from mailserver.threads.pool import Threads

KnownReputation = Callable[[Client], ClientReputation | None]
# The id of a message, and domains.
Signed = Callable[[str, Collection[str]], None]

MOST_CLIENTS = 10_000
LIFETIME = 60.0  # seconds; the answers themselves are in the cache of the resolver
LONGEST_MESSAGE = 3600.0  # seconds from RCPT to the end of the data

# No list and no reverse DNS outside this machine has facts about these.
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))


FIND, RECORD = "find contacts", "record contact"  # questions to the first worker


def contact_history(
    config: Config, disk: Disk, threads: Threads, reactor: IReactor, peers: IPeers
) -> "ContactHistory | HistoryOfFirst":
    """The history of contacts, which the first worker has. Its database is created when it is needed."""
    if peers.number != FIRST:
        return HistoryOfFirst(peers, reactor)
    if config.storage.engine == "memory":
        history = ContactHistory(MemoryHistory, execute, reactor, time.time)
    else:
        engine = partial(SQLiteHistory, history_file(config.data), disk)
        history = ContactHistory(engine, threads.run, reactor, time.time)
    peers.serve(FIND, lambda keys: history.find(*keys))
    peers.serve(RECORD, lambda entry: history.record(*entry))
    return history


class HistoryOfFirst:
    """The history of contacts for a worker other than the first."""

    def __init__(self, peers: IPeers, clock: IReactorTime) -> None:
        self._peers = peers
        self._clock = clock

    def find(self, *keys: SeenKey) -> Deferred[Found]:
        """See :class:`~mailserver.policy.history.History`."""
        asked: Deferred[Found] = self._peers.ask(FIRST, FIND, keys)
        return asked.addTimeout(MAX_TIME, self._clock, _no_answer)

    def record(self, key: SeenKey, seen: Seen) -> None:
        """See :class:`~mailserver.policy.history.History`."""
        self._peers.tell(FIRST, RECORD, (key, seen))

    async def close(self) -> None:
        """There is nothing to write."""


def _no_answer(result: object, seconds: float) -> NoReturn:
    raise StorageError(f"no answer within {seconds:.3g} seconds")


@attrs.frozen(kw_only=True)
class ReputationChecks:
    """Makes the checks for a configuration. ``now`` returns the seconds since the epoch."""

    resolver: IResolver
    reactor: IReactor
    history: History
    now: Callable[[], float] = time.time

    def __call__(self, config: Config) -> "BuiltReputation":
        """The checks that the configuration asks for."""
        policy, is_exempt = config.policy, inside(exempt_networks(config))
        lookup = self._lookup(config)
        first: list[object] = []
        delays: list[IRoutedCheck] = []
        last: list[object] = []
        signers = None
        if config.dnsbl or policy.reverse_dns_weight or policy.helo_weight or policy.greylist == "suspicious":
            first.append(ReputationCheck(lookup, policy.score_threshold, is_exempt, policy.on_error))
        if policy.greylist != "off":
            has_dkim = policy.dkim != "off" or policy.dmarc != "off"
            rules = GreylistRules(
                mode=policy.greylist,
                delay=policy.greylist_delay,
                dkim=has_dkim,
                on_error=policy.on_error,
            )
            undecided: ExpiringTable[str, Defer] = self._table(LONGEST_MESSAGE)
            greylisting = Greylisting(
                rules,
                self.history,
                lookup.find,
                is_exempt,
                self._table(LIFETIME),
                undecided,
                self.resolver,
                self.reactor,
                self.now,
            )
            delays.append(greylisting)
            signers = self._table(LIFETIME)
            last.append(SignedSenders(policy.on_error, self.history, is_exempt, undecided, signers, self.now))
        if policy.first_contact == "delay":
            seconds = policy.first_contact_delay
            delays.append(FirstContactDelay(seconds, self.history, is_exempt, self.now))
        if policy.first_contact != "off":
            last.append(FirstContact(self.history, is_exempt, self.now))
        if last:
            last.append(Correspondents(self.history, is_exempt, self.now))
        if len(delays) > 1:
            delays = [Delays(delays)]
        return BuiltReputation(
            first, [*delays, *last], lookup.known, signers.put if signers is not None else None
        )

    def _table(self, lifetime: float) -> ExpiringTable[Any, Any]:
        return ExpiringTable(MOST_CLIENTS, lifetime, self.reactor.seconds)

    def _lookup(self, config: Config) -> ReputationLookup:
        policy = config.policy
        remembered: ExpiringTable[tuple[str, str], ClientReputation] = self._table(LIFETIME)
        names = NameWeights(
            reverse_dns=policy.reverse_dns_weight,
            helo=policy.helo_weight,
            are_checked=policy.greylist == "suspicious",
        )
        return ReputationLookup(
            zones(config), names, self.resolver, self.reactor, remembered, hostname=config.hostname
        )


@attrs.frozen
class BuiltReputation:
    """The checks before a recipient is routed, and those after all others. ``known`` gives what they have
    found of a client. ``signed`` wants to know the domains whose signatures of a message are valid, None if
    nobody does."""

    first: Sequence[object]
    last: Sequence[object]
    known: KnownReputation
    signed: Signed | None


def exempt_networks(config: Config) -> Sequence[Network]:
    """The networks of clients that are not checked."""
    exempt = config.policy.exempt
    return exempt if exempt is not None else (*config.relay.networks, *LOOPBACK)


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
