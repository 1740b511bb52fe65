"""Lists of addresses (DNSBL): whether they work, and whether they have our own addresses (RFC 5782)."""

from collections.abc import Sequence
from typing import Any, NoReturn

from twisted.internet.defer import Deferred

from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.app.doctor.resolvers import OWN_RESOLVER
from mailserver.app.reputation import zones
from mailserver.commands.zone.lookups import host_addresses
from mailserver.dns.records import RecordKind
from mailserver.errors import DNSFailure
from mailserver.policy.lookups import together
from mailserver.policy.reputation.dnsbl import DnsblZone, QueryRefused, listing_codes, query_name, readable

PATIENCE = 10.0  # seconds for a lookup
LISTED, NOT_LISTED = "127.0.0.2", "127.0.0.1"  # in every list, and in none (section 5)


async def check_blocklists(it: Installation) -> Sequence[Examined]:
    """All sections [[dnsbl]]."""
    own = it.public_addresses
    if not own and it.config.dnsbl:
        own = await host_addresses(it.resolver, it.reactor, it.config.hostname)
    works = [Deferred.fromCoroutine(_check(it, zone, own)) for zone in zones(it.config)]
    results = [one for found in await together(works) for one in found]
    if it.config.dnsbl and not own:
        results.append(NotChecked("blocklists", "the public addresses of this server are not known"))
    return results


async def _check(it: Installation, zone: DnsblZone, own: Sequence[str]) -> list[Examined]:
    subject = f"{zone.key} ({zone.name})"
    results: list[Examined] = []
    try:
        if await _codes(it, zone, NOT_LISTED):
            text = "it lists every address, as a dead list does: all mail of strangers is affected"
            return [DoctorFinding("dnsbl-lists-all", subject, text, f"remove the section {zone.key}")]
        if not await _codes(it, zone, LISTED):
            text = f"it does not list {LISTED}, as every list must (RFC 5782): it is dead, or codes is wrong"
            mend = f"look at the website of the list, then correct or remove {zone.key}"
            results.append(DoctorFinding("dnsbl-dead", subject, text, mend))
        for address in own:
            if not zone.is_good and (codes := await _codes(it, zone, address)):
                text = f"it lists {address}, an address of this server ({', '.join(codes)})"
                if reason := await _text(it, zone, address):
                    text += f": {reason}"
                mend = "find the reason, end it, then ask the list to remove the address"
                results.append(DoctorFinding("dnsbl-listed", subject, text, mend))
    except QueryRefused as refused:
        text = f"it refuses the queries of this server (answer {refused}): no client is ever found listed"
        mend = f"{OWN_RESOLVER}; if that does not help, register with the list"
        return [DoctorFinding("dnsbl-refused", subject, text, mend)]
    except DNSFailure as error:
        return [*results, NotChecked(subject, str(error))]
    return results


async def _codes(it: Installation, zone: DnsblZone, address: str) -> tuple[str, ...]:
    return listing_codes(zone, await _records(it, query_name(address, zone.name), "A"))


async def _text(it: Installation, zone: DnsblZone, address: str) -> str:
    return readable(await _records(it, query_name(address, zone.name), "TXT"))


# Any: the kind tells the type.
async def _records(it: Installation, name: str, kind: RecordKind) -> Sequence[Any]:
    def give_up(result: object, seconds: float) -> NoReturn:
        raise DNSFailure(f"DNS lookup of {name} ({kind}) failed: no answer within {seconds:.3g} seconds")

    answer = await it.resolver.lookup(name, kind).addTimeout(PATIENCE, it.reactor, give_up)
    return answer.records
