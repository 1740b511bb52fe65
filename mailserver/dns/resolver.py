"""A stub resolver: it asks recursive DNS servers and remembers their answers.

A query goes to each server in turn, in rounds of growing patience (RFC 1123 section 6.1.3.3). Records, no
data and NXDOMAIN are answers. SERVFAIL, REFUSED, silence and invalid replies are failures, and another server
may do better. A question is asked only once at a time. Time, aliases, sockets and memory are bounded.
"""

import math
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.config.keys.dns import DnsSection
from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.dns.cache import AnswerCache, DNSQuestion
from mailserver.dns.interfaces import IResolver
from mailserver.dns.records import DNSAnswer, RecordKind
from mailserver.dns.reply import DNSReply
from mailserver.dns.servers import RESOLV_CONF, DnsServers
from mailserver.dns.transport import DNSTransport, NoDNSReply
from mailserver.errors import DNSFailure
from mailserver.interfaces import IReactor
from mailserver.threads.pool import Threads
from mailserver.threads.single_flight import SingleFlight

if TYPE_CHECKING:
    from mailserver.dns.codec import DNSQuery

ROUNDS = (2.0, 4.0, 8.0)  # seconds to wait for each server
MAX_TIME = 40.0  # seconds for a lookup, whatever happens
MAX_ALIASES = 10  # CNAME records that are followed
MAX_QUERIES = 200  # at the same time, each with a socket


@implementer(IResolver)
class Resolver:
    """Looks up records with the servers of ``section``.

    It counts in ``counts`` the lookups of each kind by their result: "cached", "answered" or "failed".
    """

    def __init__(
        self,
        section: DnsSection,
        reactor: IReactor,
        *,
        transport: DNSTransport | None = None,
        resolv_conf: Path = RESOLV_CONF,
        counts: Counter[tuple[RecordKind, str]] | None = None,
    ) -> None:
        self.counts = Counter() if counts is None else counts
        self._reactor = reactor
        self._transport = transport or DNSTransport(reactor)
        self._servers = DnsServers(section, reactor.seconds, resolv_conf)
        self._cache = AnswerCache(reactor.seconds)
        self._flights: SingleFlight[DNSAnswer] = SingleFlight()
        self._sockets = DeferredSemaphore(MAX_QUERIES)
        self._threads = Threads(reactor)
        self._imports: SingleFlight[type[DNSQuery]] = SingleFlight()

    def lookup(self, name: str, kind: RecordKind) -> Deferred[DNSAnswer]:
        """See :class:`~mailserver.dns.interfaces.IResolver`."""
        answer = self.known(name, kind)
        if answer is not None:
            self.counts[kind, "cached"] += 1
            return succeed(answer)
        question = _question(name, kind)
        return self._flights.join(question, partial(self._begin, *question))

    def known(self, name: str, kind: RecordKind) -> DNSAnswer | None:
        """See :class:`~mailserver.dns.interfaces.IResolver`."""
        return self._cache.get(_question(name, kind))

    def _begin(self, name: str, kind: RecordKind) -> Deferred[DNSAnswer]:
        def give_up(result: object, seconds: float) -> NoReturn:
            raise _failure(name, kind, f"no answer within {seconds:.3g} seconds")

        def counted(result: DNSAnswer | Failure) -> DNSAnswer | Failure:
            self.counts[kind, "failed" if isinstance(result, Failure) else "answered"] += 1
            return result

        answering = Deferred.fromCoroutine(self._look_up(name, kind))
        return answering.addTimeout(MAX_TIME, self._reactor, give_up).addBoth(counted)

    async def _look_up(self, name: str, kind: RecordKind) -> DNSAnswer:
        secure, ttl, aliases, octets, canonical = True, math.inf, 0, 0, name
        while True:
            try:
                reply = await self._ask(canonical, kind)
            except ValueError:  # such a name is not possible
                return DNSAnswer(name, kind, (), exists=False)
            secure = secure and reply.authentic and self._servers.trust_ad()
            ttl = min(ttl, reply.ttl)
            aliases += reply.aliases
            octets += reply.octets
            canonical = reply.canonical
            if aliases > MAX_ALIASES:
                raise _failure(name, kind, f"it has more than {MAX_ALIASES} aliases (CNAME)")
            if reply.complete:
                break
        answer = DNSAnswer(name, kind, reply.records, reply.rcode != "NXDOMAIN", secure, ttl, canonical)
        self._cache.put((name, kind), answer, octets)
        return answer

    async def _codec(self) -> "type[DNSQuery]":
        """The codec. The first query imports it in a thread: with dnspython that takes up to 0.2 seconds."""
        imported = getattr(sys.modules.get("mailserver.dns.codec"), "DNSQuery", None)
        return imported or await self._imports.join("codec", partial(self._threads.run, _import_codec))

    async def _ask(self, name: str, kind: RecordKind) -> DNSReply:
        """The first reply that answers the question, whichever server sends it."""
        query_class = await self._codec()
        waiting = list(self._servers.current())
        reasons: dict[DnsServer, str] = {}
        for seconds in ROUNDS:
            for server in tuple(waiting):
                query = query_class(name, kind, dnssec=self._servers.trust_ad())
                try:
                    async with self._sockets:
                        reply = await self._transport.ask(server, query.wire, query.read, seconds)
                except NoDNSReply as error:
                    reasons[server] = str(error)
                    self._servers.demote(server)
                    continue
                if reply.rcode in ("NOERROR", "NXDOMAIN"):
                    return reply
                reasons[server] = f"answered {reply.reason}"
                waiting.remove(server)
        raise _failure(name, kind, "; ".join(f"{server} {reason}" for server, reason in reasons.items()))


def _import_codec() -> "type[DNSQuery]":
    from mailserver.dns.codec import DNSQuery

    return DNSQuery


def _question(name: str, kind: RecordKind) -> DNSQuestion:
    return name.lower().removesuffix(".") or ".", kind


def _failure(name: str, kind: RecordKind, reason: str) -> DNSFailure:
    return DNSFailure(f"DNS lookup of {name} ({kind}) failed: {reason}")
