"""DNS servers for the resolver, without sockets: each is a zone of :mod:`tests.support.dns_zone`."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from mailserver.config.keys.dns import DnsSection
from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.dns.records import DNSAnswer, RecordKind
from mailserver.dns.reply import DNSReply
from mailserver.dns.resolver import Resolver
from mailserver.dns.transport import NoDNSReply, ReadReply
from mailserver.errors import DNSFailure
from tests.support.dns_zone import DnsZone
from tests.support.fakes import stand_in

PATIENCE = 1000  # seconds of the clock


class FakeNetwork:
    """The zones by address. It stands in for the transport of a resolver."""

    def __init__(self, **zones: DnsZone) -> None:
        """``a`` is the server 127.0.0.1, ``b`` is 127.0.0.2 and so on."""
        self.clock = Clock()
        self.zones = {f"127.0.0.{ord(name) - 96}": zone for name, zone in zones.items()}
        self.asked: list[tuple[str, float]] = []

    def resolver(self, trust_ad: bool | None = True, resolv_conf: Path | None = None) -> Resolver:
        servers = () if resolv_conf else tuple(DnsServer(ip_address(one)) for one in self.zones)
        section = DnsSection(servers=servers, trust_ad=trust_ad)
        return Resolver(
            section,
            stand_in(self.clock),
            transport=stand_in(self),
            resolv_conf=resolv_conf or Path("/nonexistent"),
        )

    async def ask(self, server: DnsServer, wire: bytes, read: ReadReply, timeout: float) -> DNSReply:
        """See :class:`mailserver.dns.transport.DNSTransport`."""
        self.asked.append((str(server), timeout))
        reply = self.zones[str(server.address)].exchange(wire)
        if reply is None:
            await deferLater(self.clock, timeout)
            raise NoDNSReply(f"did not reply within {timeout:.3g} seconds")
        await deferLater(self.clock, 0)
        try:
            return read(reply)
        except ValueError as error:
            raise NoDNSReply(f"sent an invalid reply: {error}") from None

    def wait(self, result: "Deferred[Any]") -> Any:
        """Let time pass until there is a result, and return or raise it."""
        found: list[Any] = []
        result.addBoth(found.append)
        for _ in range(PATIENCE):
            if found:
                break
            self.clock.advance(1)
        assert not self.clock.getDelayedCalls()
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]

    def answer(self, resolver: Resolver, name: str, kind: RecordKind) -> DNSAnswer:
        answer: DNSAnswer = self.wait(resolver.lookup(name, kind))
        return answer

    def failure(self, resolver: Resolver, name: str, kind: RecordKind) -> str:
        """The text with which a lookup fails."""
        try:
            answer = self.answer(resolver, name, kind)
        except DNSFailure as error:
            return str(error)
        raise AssertionError(f"an answer: {answer}")
