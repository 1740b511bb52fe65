"""Reads the reply of a DNS server to one question."""

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class DNSReply:
    """A reply, without what belongs to other names.

    ``rcode`` is the name of the response code, ``reason`` the same with an explanation of the server
    (RFC 8914). ``truncated`` is the TC bit, ``authentic`` the AD bit. ``records`` belong to ``canonical``,
    the name at the end of ``aliases`` CNAME records in the reply. ``complete`` is false if the server has
    not followed them to their end. ``ttl`` is in seconds; 0 if the reply may not be cached. ``octets`` is
    the length of the message.
    """

    rcode: str
    reason: str
    truncated: bool
    authentic: bool
    records: tuple[Any, ...]
    canonical: str
    aliases: int
    complete: bool
    ttl: float
    octets: int
