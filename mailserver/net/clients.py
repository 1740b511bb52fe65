"""Who a client counts as, what an administrator allows it, and what it is told when it wants more.

Values alone; ``limits`` has the objects that count. RFC 4291 section 2.5.4 is why an IPv6 client
counts as its /64: whoever has a network may use every address in it.
"""

import ipaddress
from collections.abc import Iterable

from mailserver.config.schema.mail_kinds import Network
from mailserver.mail.verdict import Status

# RFC 3463 section 3.8: x.7.0 is about the connection as a whole, x.7.1 about one message or recipient.
POLICY = Status(7, 0)

# What clients without an IP address, and exempt ones, count as.
UNCOUNTED = ""


def client_key(ip: str, exempt: Iterable[Network] = ()) -> str:
    """What the client at ``ip`` counts as: an IPv4 address itself, an IPv6 one its /64.

    :data:`UNCOUNTED` for a client without an address (a unix socket) and for those in ``exempt``.
    Raises ValueError for what is no IP address.
    """
    if not ip:
        return UNCOUNTED
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address):
        # A zone index names an interface of this machine, and is no part of who the client is.
        address = address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    if any(address in network for network in exempt):
        return UNCOUNTED
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def readable_time(seconds: float) -> str:
    """A time to wait, for people, never too short: "45 seconds", "12 minutes", "3 hours"."""
    for name, unit in (("hour", 3600), ("minute", 60)):
        if seconds > 2 * unit:
            return f"{-int(-seconds // unit)} {name}s"
    count = max(1, -int(-seconds // 1))
    return f"{count} second{'s' if count > 1 else ''}"
