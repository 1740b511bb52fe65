"""Writes queries and reads replies, with the codec of dnspython (RFC 1035 section 4, RFC 6891).

Replies are hostile. ``dns.message`` needs seconds for one with hundreds of long names, because it compares
records by writing them. So the sections are read here, and only what belongs to the question is decoded.

Only the resolver imports this module, with its first query and in a thread: dnspython takes longer to import
than all other parts of a server that sends no mail.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.wire
from dns.rdataclass import ANY, IN
from dns.rdatatype import CNAME, OPT, SOA

from mailserver.dns.records import MX, SRV, TLSA, RecordKind
from mailserver.dns.reply import DNSReply

PAYLOAD = 1232  # octets of a reply by UDP, which no network fragments
MAX_ALIASES = 10
MAX_RECORDS = 200  # of all sections of a reply
MAX_TTL = 86400.0  # seconds
MAX_NEGATIVE_TTL = 10800.0  # seconds (RFC 2308 section 5)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


_VALUES: Mapping[RecordKind, Callable[[Any], Any]] = {
    "A": lambda data: data.address,
    "AAAA": lambda data: data.address,
    "CNAME": lambda data: _text(data.target),
    "MX": lambda data: MX(data.preference, _text(data.exchange)),
    "PTR": lambda data: _text(data.target),
    "SRV": lambda data: SRV(data.priority, data.weight, data.port, _text(data.target)),
    "TLSA": lambda data: data,
    "TXT": lambda data: b"".join(data.strings),
}

for _kind in ("A", "AAAA", "CNAME", "MX", "PTR", "TXT", "SOA"):
    # dnspython would import the module of a type with its first record.
    dns.rdata.get_rdata_class(IN, dns.rdatatype.from_text(_kind))  # type: ignore[no-untyped-call]


@attrs.define
class _Sections:
    """A decoded reply: the records of the answer by owner and type, each with its time to live in seconds,
    the time to live of a negative answer (RFC 2308 section 5), and the extended errors (RFC 8914)."""

    flags: int
    rcode: int
    answer: dict[tuple[dns.name.Name, int], list[tuple[float, Any]]] = attrs.field(factory=dict)
    negative_ttl: float | None = None
    errors: list[dns.edns.EDECode] = attrs.field(factory=list)

    @property
    def reason(self) -> str:
        """The response code, with the first extended error in words."""
        text = dns.rcode.to_text(dns.rcode.Rcode.make(self.rcode))
        for code in self.errors[:1]:
            text += f" ({dns.edns.EDECode.to_text(code).replace('_', ' ').lower()})"
        return text


class DNSQuery:
    """A query with a random id. ``wire`` is the message to send."""

    def __init__(self, name: str, kind: RecordKind, dnssec: bool) -> None:
        """``dnssec`` asks for validation. Raises ``ValueError`` if ``name`` cannot be a domain name."""
        if not name.isascii():
            raise ValueError("a domain name is ASCII")
        try:
            self._name = dns.name.from_text(name)
        except dns.exception.DNSException as error:
            raise ValueError(str(error)) from None
        self._kind: RecordKind = kind
        self._type = dns.rdatatype.from_text(kind)
        query = dns.message.make_query(
            self._name, kind, use_edns=0, want_dnssec=dnssec, payload=PAYLOAD, id=secrets.randbelow(2**16)
        )
        if dnssec:
            query.flags |= dns.flags.AD  # RFC 6840 section 5.7
        self.wire: bytes = query.to_wire()

    def read(self, message: bytes) -> DNSReply:
        """Read a reply. Raises ``ValueError`` if it is malformed, too large, or no reply to this query."""
        try:
            return self._reply(self._sections(dns.wire.Parser(message)), len(message))
        except dns.exception.DNSException as error:
            raise ValueError(f"it is malformed ({type(error).__name__})") from None

    def _sections(self, parser: dns.wire.Parser) -> _Sections:
        _, flags, questions, *counts = parser.get_struct("!HHHHHH")
        if not flags & dns.flags.QR or dns.opcode.from_flags(flags) != dns.opcode.QUERY or questions > 1:
            raise ValueError("it is no reply to a query")
        if sum(counts) > MAX_RECORDS:
            raise ValueError(f"it has more than {MAX_RECORDS} records")
        sections = _Sections(flags=flags, rcode=flags & 0xF)
        if questions:
            if (dns.name.from_wire_parser(parser), *parser.get_struct("!HH")) != (self._name, self._type, IN):
                raise ValueError("it answers another question")
        elif sections.rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise ValueError("it has no question")
        for section, count in enumerate(counts):
            for _ in range(count):
                self._record(parser, section, sections)
        return sections

    def _record(self, parser: dns.wire.Parser, section: int, sections: _Sections) -> None:
        owner = dns.name.from_wire_parser(parser)
        kind, rdclass, ttl, length = parser.get_struct("!HHIH")
        wanted = (self._type, CNAME) if section == 0 else (SOA,) if section == 1 else ()
        if kind == OPT:
            rdclass = ANY
        elif rdclass != IN or kind not in wanted:
            parser.get_bytes(length)
            return
        with parser.restrict_to(length):
            if kind == dns.rdatatype.TLSA:  # dnspython rejects unusable ones, and the reply with them
                usage, selector, matching = parser.get_struct("!BBB")
                data: Any = TLSA(usage, selector, matching, parser.get_remaining())
            else:
                data = dns.rdata.from_wire_parser(rdclass, kind, parser)
        seconds = 0.0 if ttl >= 2**31 else float(ttl)  # RFC 2181 section 8
        if kind == OPT:
            sections.rcode |= ttl >> 24 << 4
            sections.errors += [one.code for one in data.options if isinstance(one, dns.edns.EDEOption)]
        elif kind == SOA:
            sections.negative_ttl = min(seconds, float(data.minimum), MAX_NEGATIVE_TTL)
        else:
            sections.answer.setdefault((owner, kind), []).append((seconds, data))

    def _reply(self, sections: _Sections, octets: int) -> DNSReply:
        name, ttls = self._name, [MAX_TTL]
        aliases = 0
        while self._type != CNAME and aliases <= MAX_ALIASES and (name, CNAME) in sections.answer:
            ttl, data = sections.answer[name, CNAME][0]
            ttls.append(ttl)
            name = data.target
            aliases += 1
        found = sections.answer.get((name, self._type), [])
        ttls += [ttl for ttl, _ in found]
        negative = sections.negative_ttl is not None or sections.rcode != dns.rcode.NOERROR
        complete = bool(found) or negative or not aliases
        if complete and not found:
            ttls.append(sections.negative_ttl or 0.0)
        return DNSReply(
            rcode=dns.rcode.to_text(dns.rcode.Rcode.make(sections.rcode)),
            reason=sections.reason,
            truncated=bool(sections.flags & dns.flags.TC),
            authentic=bool(sections.flags & dns.flags.AD),
            records=tuple(_VALUES[self._kind](data) for _, data in found),
            canonical=_text(name),
            aliases=aliases,
            complete=complete,
            ttl=min(ttls),
            octets=octets,
        )
