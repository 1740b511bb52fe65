"""Lists of client addresses in DNS: their queries and answers (RFC 5782). Lists of domains are not used.

A list has an A record for each address in it. Only the answers count that the list documents. Since lists
reject the queries of large resolvers with addresses in 127.255.255.0/24, and the name servers of a dead
list may answer anything, other answers never mean that a client is listed.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from mailserver.policy.strangers import client_address

ZoneAction = Literal["accept", "mark", "defer", "refuse"]

_IN_LISTS = ipaddress.IPv4Network("127.0.0.0/8")
_REFUSED = ipaddress.IPv4Network("127.255.255.0/24")

MAX_TEXT = 200  # octets
MAX_CODES = 10
_UNPRINTABLE = re.compile(rb"[^!-~]+")


@attrs.frozen
class DnsblZone:
    """A list. ``key`` is its configuration key. ``codes`` has the first and the last address of each range of
    answers that mean that a client is listed. ``weight`` is in points."""

    name: str
    key: str
    action: ZoneAction
    codes: tuple[tuple[ipaddress.IPv4Address, ipaddress.IPv4Address], ...]
    weight: int = 0

    @property
    def is_good(self) -> bool:
        """Whether it is a list of good clients (DNSWL)."""
        return self.action == "accept" or self.weight < 0

    @property
    def is_strict(self) -> bool:
        """Whether it alone keeps mail out."""
        return self.action in ("defer", "refuse")


@attrs.frozen
class DnsblListing:
    """A list has the client. ``codes`` are its answers. ``text`` is the explanation of the list, or ""."""

    zone: DnsblZone
    codes: tuple[str, ...]
    text: str = ""


class QueryRefused(Exception):
    """The list has refused the query, or does not work; the text is its answer."""


def query_name(ip: str, zone: str) -> str:
    """The name to look up for a client (sections 2.1 and 2.4)."""
    # The name in in-addr.arpa or ip6.arpa, with another end.
    return f"{client_address(ip).reverse_pointer.rsplit('.', 2)[0]}.{zone}"


def listing_codes(zone: DnsblZone, answers: Iterable[str]) -> tuple[str, ...]:
    """Those of the answers that mean that the client is listed. Raises :class:`QueryRefused`."""
    found = sorted(map(ipaddress.IPv4Address, answers))
    for answer in found:
        if answer not in _IN_LISTS or answer in _REFUSED:
            raise QueryRefused(str(answer))
    listed = [str(one) for one in found if any(first <= one <= last for first, last in zone.codes)]
    return tuple(listed[:MAX_CODES])


def readable(texts: Sequence[bytes]) -> str:
    """The explanation of a list, from its TXT records: one line of limited length, in ASCII."""
    if not texts:
        return ""
    return _UNPRINTABLE.sub(b" ", texts[0][: 2 * MAX_TEXT]).strip()[:MAX_TEXT].decode("ascii").rstrip()
