"""Which IP addresses may belong to a server on the public Internet (RFC 6890).

An outsider decides what DNS says about a domain. So without a permission nothing connects to the other
addresses: it could reach services inside the network of this server.
"""

import ipaddress

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # RFC 9637, which older versions of Python do not know
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # NAT64 (RFC 6052)


def is_public(text: str) -> bool:
    """Whether the IP address ``text`` is globally reachable, and unicast.

    An address in a prefix for translation is judged by the IPv4 address in it. IPv4-mapped addresses are
    never public.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address in _TRANSLATED:
        return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
    if address.sixtofour is not None:
        return is_public(str(address.sixtofour))
    return address in _GLOBAL_UNICAST and address not in _DOCUMENTATION and address.is_global
