"""Strangers: the clients whose mail is checked."""

import ipaddress
from collections.abc import Callable, Collection
from functools import lru_cache

from mailserver.mail.address import Address, folded
from mailserver.reception.transaction import Client

# These must hear from everybody: the postmaster (RFC 5321 section 4.5.1), and the address to which people
# complain (RFC 2142 section 4), also those whose mail was rejected by mistake.
OPEN_MAILBOXES = frozenset({"postmaster", "abuse"})

REMEMBERED = 1000  # clients

ClientAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(ip: str) -> ClientAddress:
    """The address of a client: without its zone, and IPv4 also if the socket has mapped it to IPv6."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def inside(networks: Collection[IPNetwork]) -> Callable[[str], bool]:
    """A function that tells whether the address of a client is in one of the networks."""
    networks = tuple(networks)

    @lru_cache(REMEMBERED)
    def is_inside(ip: str) -> bool:
        address = client_address(ip)
        return any(address in network for network in networks)

    return is_inside


def is_stranger(client: Client, is_exempt: Callable[[str], bool]) -> bool:
    """Whether the mail of a client must be checked. ``is_exempt`` knows the addresses that are not checked.

    A client of a unix socket, or of LMTP, is a server that has checked the mail.
    """
    return (
        client.account is None
        and client.local is None
        and client.ip != ""
        and "LMTP" not in client.protocol
        and not is_exempt(client.ip)
    )


def is_open(recipient: Address) -> bool:
    """Whether everybody may write to the recipient, if it is here."""
    return folded(recipient.local) in OPEN_MAILBOXES
