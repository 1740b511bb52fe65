"""The requirement that the TLSA records of a host make (RFC 7672 section 2)."""

from collections.abc import Callable

from mailserver.delivery.tls_policy.tlsa import check_chain, is_usable
from mailserver.dns.interfaces import IResolver
from mailserver.dns.records import TLSA, DNSAnswer
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement

RULE = "DANE"
_MOST_RECORDS = 50


class DANE:
    """``now`` is wall-clock time in seconds since the epoch."""

    def __init__(self, resolver: IResolver, now: Callable[[], float]) -> None:
        self._resolver = resolver
        self._now = now

    async def requirement(self, domain: str, host: str) -> tuple[TLSRequirement, tuple[TLSA, ...]] | None:
        """The requirement for a host that secure MX records name, with the records; None if there are none.

        Fails with DNSFailure if the records are unknown now: then no mail may go to the host.
        """
        address = await self._address(host)
        if not address.secure:
            # Section 2.2.2: without this, servers that break on TLSA would never get mail.
            return None
        # A secure alias has its records at its end, or at its own name (section 2.2.2).
        for name in dict.fromkeys((address.canonical, host)):
            answer = await self._resolver.lookup(f"_25._tcp.{name}", "TLSA")
            if answer.secure and answer.records:
                records = answer.records[:_MOST_RECORDS]
                return self._from(records, (name, domain)), records
        return None

    async def _address(self, host: str) -> DNSAnswer:
        answer = await self._resolver.lookup(host, "A")
        return answer if answer.records else await self._resolver.lookup(host, "AAAA")

    def _from(self, records: tuple[TLSA, ...], names: tuple[str, ...]) -> TLSRequirement:
        usable = tuple(filter(is_usable, records))
        if not usable:
            return TLSRequirement(TLSLevel.REQUIRED, RULE)
        return TLSRequirement(
            TLSLevel.VERIFIED, RULE, lambda chain: check_chain(usable, names, self._now(), chain)
        )
