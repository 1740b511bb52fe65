"""The key by which the limits count a client.

An IPv6 client counts as its /64 network, since one client may use every address of it (RFC 4291 section
2.5.4).
"""

import ipaddress
from collections.abc import Iterable

from mailserver.config.schema.mail_kinds import Network

# The key of clients that are not counted: those without an IP address, and exempt ones.
UNCOUNTED = ""


def client_key(ip: str, exempt: Iterable[Network] = ()) -> str:
    """The key of the client at ``ip``: the IPv4 address, or the /64 network of an IPv6 address.

    :data:`UNCOUNTED` for a client without an address (a unix socket) and for those in ``exempt``.
    Raises ValueError if ``ip`` is not an IP address.
    """
    if not ip:
        return UNCOUNTED
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address):
        # A zone index names an interface of this machine; the client does not depend on it.
        address = address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    if any(address in network for network in exempt):
        return UNCOUNTED
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def readable_time(seconds: float) -> str:
    """A time as text, rounded up: "45 seconds", "12 minutes", "3 hours"."""
    for name, unit in (("hour", 3600), ("minute", 60)):
        if seconds > 2 * unit:
            return f"{-int(-seconds // unit)} {name}s"
    count = max(1, -int(-seconds // 1))
    return f"{count} second{'s' if count > 1 else ''}"
