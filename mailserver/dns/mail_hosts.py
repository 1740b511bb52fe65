"""Finds the hosts that receive the mail of a domain, and their addresses (RFC 5321 section 5.1).

Strangers decide what DNS says about a domain. So the number of hosts and addresses is bounded, hosts that are
no better than this server are left out (against loops), and so are addresses that are not public.
"""

import ipaddress
import math
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from random import Random

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from mailserver.dns.interfaces import IResolver
from mailserver.dns.public import is_public
from mailserver.dns.records import MX, DNSAnswer
from mailserver.errors import DNSFailure
from mailserver.mail import outcome
from mailserver.mail.verdict import NULL_MX, ROUTING_LOOP, Status

MAX_HOSTS = 10
MAX_ADDRESSES = 8  # of one host

BAD_SYSTEM = Status(1, 2)
DIRECTORY_FAILURE = Status(4, 3)
NO_ROUTE = Status(4, 4)


@attrs.frozen
class MailHost:
    """A host to try. ``addresses`` are in the order to try them, IPv6 and IPv4 in turn (RFC 8305 section 4).

    ``name`` is the name in the MX record, the domain itself if it has none, or an address literal.
    ``canonical`` is the name at the end of its aliases. ``secure``: the MX records and the addresses are
    validated by DNSSEC, as DANE needs it (RFC 7672 section 2.2).
    """

    name: str
    addresses: tuple[str, ...]
    canonical: str
    secure: bool = False


MailHosts = tuple[MailHost, ...]
FoundHosts = MailHosts | outcome.Deferred | outcome.Failed


@attrs.frozen
class _Candidate:
    """A host that DNS names, with all of its addresses; or without, because of a ``failure``."""

    preference: int
    host: MailHost
    failure: DNSFailure | None = None


@attrs.frozen(kw_only=True)
class MailHostFinder:
    """Finds the hosts of domains.

    A host with the name ``hostname``, or with an IP address for which ``is_own_address`` is true, is this
    server. ``random`` shuffles hosts of the same preference. ``allow_private`` permits addresses that are not
    public.
    """

    resolver: IResolver
    hostname: str
    random: Random
    is_own_address: Callable[[str], bool]
    allow_private: bool = False

    def find(self, domain: str) -> "Deferred[FoundHosts]":
        """The hosts for ``domain``, which has A-labels or is an address literal, in the order to try them.

        There is at least one, and each has an address. Otherwise fires with the outcome for all recipients in
        the domain: ``outcome.Deferred`` if DNS does not answer, else ``outcome.Failed``. The Deferred may be
        cancelled.
        """
        return Deferred.fromCoroutine(self._find(domain))

    async def _find(self, domain: str) -> FoundHosts:
        if domain.startswith("["):
            return self._literal(domain)
        try:
            answer = await self.resolver.lookup(domain, "MX")
        except DNSFailure as error:
            return _unanswered(error)
        if not answer.exists:
            return outcome.Failed(BAD_SYSTEM, f"the domain {domain} does not exist")
        if _is_null(answer):
            return outcome.Failed(NULL_MX, f"the domain {domain} does not accept mail (null MX)")
        records = [mx for mx in answer.records or (MX(0, domain),) if mx.host != "."]
        lookups = [
            Deferred.fromCoroutine(self._candidate(mx, answer.secure)) for mx in self._in_order(records)
        ]
        return self._choose(domain, await gatherResults(lookups))

    def accepts_no_mail(self, domain: str) -> bool:
        """Whether ``domain`` is known to have a null MX record. Asks no server."""
        answer = self.resolver.known(domain, "MX")
        return answer is not None and _is_null(answer)

    def _literal(self, literal: str) -> FoundHosts:
        """The host of an address literal (RFC 5321 section 4.1.3)."""
        try:
            address = str(ipaddress.ip_address(literal[1:-1].removeprefix("IPv6:")))
        except ValueError:
            return outcome.Failed(BAD_SYSTEM, f"{literal} has no IP address")
        return self._choose(literal, [_Candidate(0, MailHost(literal, (address,), literal))])

    def _in_order(self, records: Sequence[MX]) -> Sequence[MX]:
        """The records to try, each host once."""
        best: dict[str, MX] = {}
        shuffled = self.random.sample(records, len(records))
        for mx in sorted(shuffled, key=lambda mx: mx.preference):
            best.setdefault(mx.host, mx)
        return list(best.values())[:MAX_HOSTS]

    async def _candidate(self, mx: MX, secure: bool) -> _Candidate:
        lookups = [self.resolver.lookup(mx.host, kind).addErrback(_kept) for kind in ("AAAA", "A")]
        found = await gatherResults(lookups)
        answers = [one for one in found if isinstance(one, DNSAnswer) and one.records]
        # Each kind keeps the order of its answer (RFC 5321 section 5.1).
        in_turn = chain.from_iterable(zip_longest(*(answer.records for answer in answers)))
        addresses = tuple(dict.fromkeys(address for address in in_turn if address is not None))
        canonical = answers[0].canonical if answers else mx.host
        secure = secure and all(answer.secure for answer in answers)
        failure = next((one for one in found if isinstance(one, DNSFailure)), None)
        return _Candidate(mx.preference, MailHost(mx.host, addresses, canonical, secure), failure)

    def _choose(self, domain: str, candidates: Sequence[_Candidate]) -> FoundHosts:
        ours = min((one.preference for one in candidates if self._is_ours(one.host)), default=math.inf)
        better = [one for one in candidates if one.preference < ours]
        if not better:
            return outcome.Failed(ROUTING_LOOP, f"the best mail exchanger of {domain} is this server")
        hosts = [attrs.evolve(one.host, addresses=self._usable(one.host)) for one in better]
        if usable := tuple(host for host in hosts if host.addresses):
            return usable
        for one in better:
            if one.failure is not None:
                return _unanswered(one.failure)
        for one in better:
            if one.host.addresses:
                text = f"the mail exchangers of {domain} have no public address, only {one.host.addresses[0]}"
                return outcome.Failed(NO_ROUTE, text, rule="relay.allow_private")
        return outcome.Failed(NO_ROUTE, f"no mail exchanger of {domain} has an address")

    def _is_ours(self, host: MailHost) -> bool:
        names = {host.name, host.canonical}
        return self.hostname in names or any(map(self.is_own_address, host.addresses))

    def _usable(self, host: MailHost) -> tuple[str, ...]:
        usable = [one for one in host.addresses if self.allow_private or is_public(one)]
        return tuple(usable[:MAX_ADDRESSES])


def _is_null(answer: DNSAnswer) -> bool:
    """RFC 7505 section 3."""
    return bool(answer.records) and all(mx.host == "." for mx in answer.records)


def _kept(failure: Failure) -> DNSFailure:
    failure.trap(DNSFailure)
    assert isinstance(failure.value, DNSFailure)
    return failure.value


def _unanswered(error: DNSFailure) -> outcome.Deferred:
    return outcome.Deferred(DIRECTORY_FAILURE, str(error), unreachable=True)
