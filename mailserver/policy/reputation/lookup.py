"""Asks DNS about a client: all lists, its reverse DNS and its name at once, within one time."""

from collections.abc import Collection
from typing import Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailserver.dns.interfaces import IResolver
from mailserver.errors import DNSFailure
from mailserver.events.base import Event, report
from mailserver.events.reputation import ClientListed, DnsblRefusedQuery, DnsblUnanswered
from mailserver.policy.lookups import together
from mailserver.policy.reputation.dnsbl import (
    DnsblListing,
    DnsblZone,
    QueryRefused,
    listing_codes,
    query_name,
    readable,
)
from mailserver.policy.reputation.names import check_helo, check_reverse_dns
from mailserver.policy.reputation.values import WRONG, ClientReputation, NameResult, ReverseName
from mailserver.reception.transaction import Client

MAX_TIME = 5.0  # seconds for all questions about a client
# A list that has not answered so many times in a row is not asked for some time, as each client would wait.
MAX_FAILURES = 3
PAUSE = 60.0  # seconds
REPORTED_AGAIN = 3600.0  # seconds between two reports of the same trouble with a list

_T = TypeVar("_T")


class RememberedReputations(Protocol):
    """Keeps reputations for a short time, by the address and the name of the client."""

    def get(self, key: tuple[str, str]) -> ClientReputation | None:
        """The reputation that is known."""

    def put(self, key: tuple[str, str], value: ClientReputation) -> None:
        """Keep a reputation."""


@attrs.frozen(kw_only=True)
class NameWeights:
    """The points for wrong names. ``are_checked``: the names are also looked up if they cost no points."""

    reverse_dns: int = 0
    helo: int = 0
    are_checked: bool = False


class ReputationLookup:
    """Finds the reputation of clients."""

    def __init__(
        self,
        zones: Collection[DnsblZone],
        names: NameWeights,
        resolver: IResolver,
        clock: IReactorTime,
        remembered: RememberedReputations,
        *,
        hostname: str,
    ) -> None:
        """``hostname`` is the name of this server."""
        self._zones = tuple(zones)
        self._names = names
        self._resolver = resolver
        self._clock = clock
        self._remembered = remembered
        self._hostname = hostname
        # By the key of a list: its lookups in a row without an answer, and the time until which it is paused.
        self._failures: dict[str, int] = {}
        self._paused: dict[str, float] = {}
        self._reported: dict[tuple[str, type[Event]], float] = {}

    def find(self, client: Client) -> ClientReputation | Deferred[ClientReputation]:
        """The reputation of a client, within :data:`MAX_TIME`. What DNS does not tell is unknown."""
        known = self.known(client)
        return known if known is not None else Deferred.fromCoroutine(self._find(client))

    def known(self, client: Client) -> ClientReputation | None:
        """The reputation of a client that was found a short time ago."""
        return self._remembered.get((client.ip, client.helo))

    async def _find(self, client: Client) -> ClientReputation:
        asked = [Deferred.fromCoroutine(self._listing(zone, client.ip)) for zone in self._zones]
        reverse_dns = Deferred.fromCoroutine(self._reverse_dns(client.ip))
        helo = Deferred.fromCoroutine(self._helo(client))
        listings = await together(asked)
        found = [listing for listing in listings if listing is not None]
        reputation = self._scored(tuple(found), await reverse_dns, await helo)
        if found:
            zones = ", ".join(dict.fromkeys(listing.zone.name for listing in found))
            report(
                ClientListed(client=client.ip, session=client.session, zones=zones, score=reputation.score)
            )
        self._remembered.put((client.ip, client.helo), reputation)
        return reputation

    async def _listing(self, zone: DnsblZone, ip: str) -> DnsblListing | None:
        """Whether a list has the client."""
        name, started = query_name(ip, zone.name), self._clock.seconds()
        if started < self._paused.get(zone.key, started):
            return None
        try:
            answer = await self._in_time(self._resolver.lookup(name, "A"), MAX_TIME)
            self._failures[zone.key] = 0
            codes = listing_codes(zone, answer.records)
        except QueryRefused as refused:
            self._trouble(DnsblRefusedQuery(zone=zone.name, answer=str(refused), rule=zone.key))
            return None
        except DNSFailure as error:
            self._failures[zone.key] = failures = self._failures.get(zone.key, 0) + 1
            if failures >= MAX_FAILURES:
                self._paused[zone.key] = self._clock.seconds() + PAUSE
            self._trouble(DnsblUnanswered(zone=zone.name, reason=str(error), rule=zone.key))
            return None
        if not codes:
            return None
        left = started + MAX_TIME - self._clock.seconds()
        return DnsblListing(zone, codes, await self._text(name, left) if zone.is_strict else "")

    async def _text(self, name: str, seconds: float) -> str:
        """The explanation of a list, for a reply."""
        try:
            answer = await self._in_time(self._resolver.lookup(name, "TXT"), seconds)
        except DNSFailure:
            return ""
        return readable(answer.records)

    async def _reverse_dns(self, ip: str) -> ReverseName | None:
        if not (self._names.reverse_dns or self._names.are_checked):
            return None
        checked = Deferred.fromCoroutine(check_reverse_dns(self._resolver, ip))
        try:
            return await self._in_time(checked, MAX_TIME)
        except DNSFailure:
            return ReverseName("temperror")

    async def _helo(self, client: Client) -> NameResult | None:
        if not (self._names.helo or self._names.are_checked):
            return None
        checked = Deferred.fromCoroutine(check_helo(self._resolver, client.ip, client.helo, self._hostname))
        try:
            return await self._in_time(checked, MAX_TIME)
        except DNSFailure:
            return "temperror"

    def _in_time(self, work: Deferred[_T], seconds: float) -> Deferred[_T]:
        """The result, or a :class:`DNSFailure` if it is not there in time."""

        def give_up(result: object, seconds: float) -> _T:
            raise DNSFailure(f"no answer within {seconds:.3g} seconds")

        return work.addTimeout(max(seconds, 0.0), self._clock, give_up)

    def _scored(
        self, listings: tuple[DnsblListing, ...], reverse: ReverseName | None, helo: NameResult | None
    ) -> ClientReputation:
        points = [(listing.zone.name, listing.zone.weight) for listing in listings]
        if reverse is not None and reverse.result in WRONG:
            points.append(("no valid reverse DNS", self._names.reverse_dns))
        if helo in WRONG:
            points.append(("wrong name in HELO", self._names.helo))
        # Several sections may have the same zone, with other codes.
        reasons = dict.fromkeys(reason for reason, weight in points if weight > 0)
        return ClientReputation(listings, reverse, helo, sum(weight for _, weight in points), tuple(reasons))

    def _trouble(self, event: DnsblRefusedQuery | DnsblUnanswered) -> None:
        """Report trouble with a list, but not for each message."""
        kind, now = (event.zone, type(event)), self._clock.seconds()
        if now >= self._reported.get(kind, now):
            self._reported[kind] = now + REPORTED_AGAIN
            report(event)
