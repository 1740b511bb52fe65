"""DNS records and answers as values. A name is ASCII text in lower case without the final dot; the root
is ".". Octets of a name that are not usual in host names are escaped as in a master file (RFC 1035
section 5.1)."""

from typing import Any, Literal

import attrs

RecordKind = Literal["A", "AAAA", "CNAME", "MX", "PTR", "SRV", "TLSA", "TXT"]


@attrs.frozen(order=True)
class MX:
    """A mail exchanger (RFC 1035 section 3.3.9). The lowest ``preference`` is tried first."""

    preference: int
    host: str


@attrs.frozen(order=True)
class SRV:
    """A host and port of a service (RFC 2782). The host "." says that there is no such service."""

    priority: int
    weight: int
    port: int
    host: str


@attrs.frozen
class TLSA:
    """A certificate association for TLS (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes


@attrs.frozen
class DNSAnswer:
    """The records of one kind for one name.

    ``records`` are ``str`` for addresses (A, AAAA) and names (CNAME, PTR), ``bytes`` for TXT, which has the
    strings of a record joined, else :class:`MX`, :class:`SRV` or :class:`TLSA`. There are none if ``exists``
    is false (NXDOMAIN, RFC 2308 section 2.1), or if the name has only records of other kinds. ``secure``: the
    resolver has validated the answer with DNSSEC and is trusted to do that. ``ttl`` is the time in seconds
    that the answer stays valid. ``canonical`` is the name at the end of the aliases (CNAME) that were
    followed.
    """

    name: str
    kind: RecordKind
    records: tuple[Any, ...]  # the kind tells the type
    exists: bool = True
    secure: bool = False
    ttl: float = 0.0
    canonical: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))
