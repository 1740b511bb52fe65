"""The names of a client: its reverse DNS, and its argument of HELO."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from mailserver.dns.interfaces import IResolver
from mailserver.dns.records import RecordKind
from mailserver.errors import AddressError, DNSFailure
from mailserver.mail.address import parse_domain
from mailserver.policy.lookups import together
from mailserver.policy.reputation.values import NameResult, ReverseName
from mailserver.policy.strangers import ClientAddress, client_address

MAX_NAMES = 10  # of the names of one address


async def check_reverse_dns(resolver: IResolver, ip: str) -> ReverseName:
    """Look for a name of the client that leads back to its address."""
    address = client_address(ip)
    try:
        answer = await resolver.lookup(address.reverse_pointer, "PTR")
    except DNSFailure:
        return ReverseName("temperror")
    names = answer.records[:MAX_NAMES]
    if not names:
        return ReverseName("permerror")
    kind: RecordKind = "A" if address.version == 4 else "AAAA"
    found = await _addresses_of([(name, kind) for name in names], resolver)
    for name, addresses in zip(names, found, strict=True):
        if addresses is not None and address in addresses:
            return ReverseName("pass", name)
    return ReverseName("temperror" if None in found else "fail")


async def check_helo(resolver: IResolver, ip: str, helo: str, hostname: str) -> NameResult:
    """Check the name that a client gives. It need not be the one in reverse DNS: many servers have several.

    ``hostname`` is the name of this server.
    """
    try:
        name = parse_domain(helo)
    except AddressError:
        return "fail"
    if name.startswith("["):
        literal = name[1:-1].removeprefix("IPv6:")
        try:
            return "pass" if client_address(literal) == client_address(ip) else "fail"
        except ValueError:
            return "fail"
    if "." not in name or name == hostname:
        return "fail"
    found = await _addresses_of([(name, "A"), (name, "AAAA")], resolver)
    if any(found):
        return "pass"
    return "temperror" if None in found else "fail"


async def _addresses_of(
    questions: Sequence[tuple[str, RecordKind]], resolver: IResolver
) -> Sequence[Sequence[ClientAddress] | None]:
    """The answers to questions that are asked at once."""
    return await together([Deferred.fromCoroutine(_addresses(resolver, *each)) for each in questions])


async def _addresses(resolver: IResolver, name: str, kind: RecordKind) -> Sequence[ClientAddress] | None:
    """The addresses of a name; None if DNS fails."""
    try:
        answer = await resolver.lookup(name, kind)
    except DNSFailure:
        return None
    return [client_address(record) for record in answer.records]
