"""Compares the records that lead to hosts: MX, A and AAAA, PTR, SRV, TLSA, and the name for autoconfig."""

from collections.abc import Sequence
from typing import Literal

from mailserver.commands.zone.published import PublishedRecords, RecordState
from mailserver.delivery.tls_policy.tlsa import check_chain, is_usable
from mailserver.dns.records import MX, SRV, TLSA

RIGHT = RecordState("right")


def compare_mx(hostname: str, domain: str, published: PublishedRecords) -> RecordState:
    """The MX records of a domain (RFC 5321 section 5.1, RFC 7505)."""
    records: list[MX] = sorted(published.records(domain, "MX"))
    there = tuple(f"{one.preference} {one.host}." for one in records)
    hosts = [one.host for one in records]
    if not hosts:
        return RecordState(
            "missing", "Mail goes to the address of the domain itself, or nowhere if it has none."
        )
    if hosts == ["."]:
        return RecordState("different", "The record says that the domain accepts no mail.", there)
    if hostname not in hosts:
        return RecordState("different", "Mail goes to other servers, and never comes here.", there)
    first = records[0].preference
    if hostname not in [one.host for one in records if one.preference == first]:
        return RecordState(
            "different", "Mail goes to another server first, and comes here only if that one is down.", there
        )
    return RecordState("right", "There are more servers for the domain." if hosts[1:] else "", there)


def compare_address(
    hostname: str, address: str, ours: Sequence[str], published: PublishedRecords
) -> RecordState:
    """An address of the server, which may have several (``ours``) of its kind."""
    kind = address_kind(address)
    if published.canonical(hostname, kind) != hostname:
        return _alias(hostname, published.canonical(hostname, kind))
    there = tuple(published.records(hostname, kind))
    if address in there:
        others = ", ".join(one for one in there if one not in ours)
        note = f"DNS has {others}, too: is that this server?" if others else ""
        return RecordState("right", note, there)
    if there:
        return RecordState("different", "Mail goes to another address.", there)
    return RecordState("missing", f"Nobody can reach the server by IPv{'6' if kind == 'AAAA' else '4'}.")


def compare_any_address(hostname: str, published: PublishedRecords) -> RecordState:
    """Any address of the server, whose own ones are not known."""
    if published.canonical(hostname, "A") != hostname:
        return _alias(hostname, published.canonical(hostname, "A"))
    there = published.addresses(hostname)
    if not there:
        return RecordState("missing", "Nobody can reach the server.")
    return RecordState("right", "Are these addresses those of this server? --address checks it.", there)


def _alias(hostname: str, canonical: str) -> RecordState:
    text = "The name in an MX record must not be an alias (RFC 2181 section 10.3). Some servers reject it."
    return RecordState("different", text, (f"{hostname}. CNAME {canonical}.",))


def compare_ptr(hostname: str, pointer: str, published: PublishedRecords) -> RecordState:
    """The name of an address, which must lead back to it."""
    names = tuple(published.records(pointer, "PTR"))
    if hostname in names:
        return RIGHT
    there = tuple(f"{name}." for name in names)
    if not names:
        return RecordState("missing", "Many servers reject mail from an address without a name.")
    return RecordState(
        "different", f"Servers that compare it with {hostname}, the name in EHLO, may reject mail.", there
    )


def compare_srv(hostname: str, name: str, port: int, published: PublishedRecords) -> RecordState:
    """The SRV records of a service (RFC 6186, RFC 8314 section 5.1)."""
    records: list[SRV] = sorted(published.records(name, "SRV"))
    there = tuple(f"{one.priority} {one.weight} {one.port} {one.host}." for one in records)
    if (hostname, port) in [(one.host, one.port) for one in records]:
        return RIGHT
    if not records:
        return RecordState("missing", "Mail programs must guess the server, or ask the user.")
    return RecordState("different", "Mail programs connect to another server or port.", there)


def compare_tlsa(
    chain: Sequence[bytes], names: Sequence[str], name: str, now: float, published: PublishedRecords
) -> RecordState:
    """The TLSA records of port 25 (RFC 7672). ``now`` is in seconds since the epoch."""
    records: list[TLSA] = list(published.records(name, "TLSA"))
    there = tuple(f"{one.usage} {one.selector} {one.matching} {one.data.hex()}" for one in records)
    unsigned = "" if published.is_secure(name, "TLSA") else _UNSIGNED
    if not records:
        return RecordState("missing", unsigned.strip() or "Senders do not use DANE.")
    usable = [one for one in records if is_usable(one)]
    if not usable:
        return RecordState(
            "different", f"Senders that use DANE do not check the certificate.{unsigned}", there
        )
    if problem := check_chain(usable, names, now, chain):
        text = f"Senders that use DANE send nothing here: {problem}.{unsigned}"
        return RecordState("different", text, there)
    return RecordState("right", unsigned.strip())


_UNSIGNED = (
    " The answer is not protected by DNSSEC, or your resolver does not say so: without DNSSEC the record has "
    "no effect."
)


def compare_web_host(hostname: str, name: str, effect: str, published: PublishedRecords) -> RecordState:
    """The name of a web server: an alias of the host, or another one with an address."""
    if hostname in (published.canonical(name, "A"), published.canonical(name, "AAAA")):
        return RIGHT
    there = published.addresses(name)
    return RecordState("right", "It is another server.", there) if there else RecordState("missing", effect)


def address_kind(address: str) -> Literal["A", "AAAA"]:
    """The kind of the record of an address."""
    return "AAAA" if ":" in address else "A"
