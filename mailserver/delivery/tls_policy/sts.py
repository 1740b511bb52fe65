"""The MTA-STS policies of domains, found, remembered and refreshed (RFC 8461 sections 3 and 5.1).

The DNS record of a domain announces a policy and names its version; the policy host has its content. A policy
that was fetched once stays in force until it expires, also without the record and without the policy host: an
attacker can block both. So policies are stored in the data directory, and refreshed long before they expire.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from mailserver.delivery.tls_policy.sts_fetch import PolicyUnavailable
from mailserver.delivery.tls_policy.sts_policy import STSPolicy, parse_policy, record_id
from mailserver.delivery.tls_policy.sts_store import KnownPolicy, PolicyFiles
from mailserver.dns.interfaces import IResolver
from mailserver.errors import DNSFailure
from mailserver.events.base import report
from mailserver.events.tls_policy import STSPolicyFetched, STSPolicyNotFetched, STSPolicyNotStored
from mailserver.interfaces import IReactor
from mailserver.threads.pool import run_in_thread
from mailserver.threads.single_flight import SingleFlight

T = TypeVar("T")

REFRESH_AFTER = 86400.0  # seconds since a policy was fetched
_ROUND = 3600.0  # seconds between looks for policies to refresh
_RETRY = 300.0  # seconds after a failure, the least that section 3.3 allows
_MOST_KNOWN = 1000  # in memory; others are read again


class MTASTS:
    """``fetch`` gets the content of a policy file, as :meth:`PolicyHosts.fetch` does. ``files`` are open."""

    def __init__(
        self,
        reactor: IReactor,
        resolver: IResolver,
        fetch: Callable[[str], Deferred[bytes]],
        files: PolicyFiles,
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._fetch_content = fetch
        self._files = files
        self._known: OrderedDict[str, KnownPolicy] = OrderedDict()
        # The last failure for a domain: the id of the policy, and when to try again.
        self._failed: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._fetches: SingleFlight[KnownPolicy | None] = SingleFlight()
        self._timer: IDelayedCall | None = None
        self._refreshing: Deferred[object] | None = None

    def start(self) -> None:
        """Refresh policies from now on."""
        self._timer = self._reactor.callLater(_ROUND, self._begin_refresh)

    def stop(self) -> None:
        """Refresh no more policies."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        refreshing, self._refreshing = self._refreshing, None
        if refreshing is not None:
            refreshing.cancel()

    async def policy(self, domain: str) -> STSPolicy | None:
        """The policy in force for mail to a domain; None if the domain has no policy."""
        known = await self._load(domain)
        id = await self._announced(domain)
        if id is not None and (known is None or known.id != id):
            known = await self._fetched(domain, id) or known
        return None if known is None else known.policy

    # ------------------------------------------------------------ what is known

    async def _load(self, domain: str) -> KnownPolicy | None:
        """The policy that was fetched before, if it is still valid."""
        known = self._known.get(domain)
        if known is None and domain in self._files.domains:
            try:
                known = await run_in_thread(self._reactor, self._files.read, domain)
            except OSError as error:
                report(STSPolicyNotStored(domain=domain, error=error))
            if known is not None:
                known = self._remember(domain, known)
        if known is not None and known.expires(self._reactor.seconds()) <= self._reactor.seconds():
            return None
        return known

    def _remember(self, domain: str, known: KnownPolicy) -> KnownPolicy:
        _put(self._known, domain, known)
        return known

    async def _announced(self, domain: str) -> str | None:
        """The id in the DNS record. A failure is like no record: what is known stays in force."""
        try:
            answer = await self._resolver.lookup(f"_mta-sts.{domain}", "TXT")
        except DNSFailure:
            return None
        return record_id(answer.records)

    # ------------------------------------------------------------ the policy host

    def _fetched(self, domain: str, id: str) -> Deferred[KnownPolicy | None]:
        """The policy as its host has it now, None if it cannot be fetched."""
        return self._fetches.join((domain, id), lambda: Deferred.fromCoroutine(self._fetch(domain, id)))

    async def _fetch(self, domain: str, id: str) -> KnownPolicy | None:
        now = self._reactor.seconds()
        failed_id, again = self._failed.get(domain, ("", 0.0))
        if failed_id == id and now < again <= now + _RETRY:
            return None
        try:
            policy = parse_policy(await self._fetch_content(domain))
        except (PolicyUnavailable, ValueError) as error:
            _put(self._failed, domain, (id, now + _RETRY))
            report(STSPolicyNotFetched(domain=domain, reason=str(error)))
            return None
        known = self._remember(domain, KnownPolicy(id, now, policy))
        report(STSPolicyFetched(domain=domain, mode=policy.mode, names=", ".join(policy.mx)))
        await self._change(domain, self._files.write, domain, known)
        return known

    async def _change(self, domain: str, change: Callable[..., None], *arguments: object) -> None:
        try:
            await run_in_thread(self._reactor, change, *arguments)
        except OSError as error:
            report(STSPolicyNotStored(domain=domain, error=error))

    # ------------------------------------------------------------ refreshing

    def _begin_refresh(self) -> None:
        self._refreshing = Deferred.fromCoroutine(self._refresh())
        self._refreshing.addBoth(self._refreshed)

    def _refreshed(self, result: object) -> object:
        if self._refreshing is None:
            return None  # stopped
        self._refreshing = None
        self.start()
        return result  # a bug is logged as an unhandled error

    async def _refresh(self) -> None:
        """Fetch policies that are old, one after the other, and forget those that have expired."""
        for domain in sorted(self._files.domains):
            known = await self._load(domain)
            if known is None:
                await self._change(domain, self._files.remove, domain)
            elif self._reactor.seconds() - known.fetched >= REFRESH_AFTER:
                id = await self._announced(domain)
                if id is not None:
                    await self._fetched(domain, id)


def _put(table: OrderedDict[str, T], domain: str, value: T) -> None:
    """Put a value at the end, and forget the oldest one if there are too many."""
    table[domain] = value
    table.move_to_end(domain)
    if len(table) > _MOST_KNOWN:
        table.popitem(last=False)
