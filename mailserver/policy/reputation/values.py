"""What others know of a client, as values.

The results for names are words of RFC 8601 section 2.7.3 (iprev): "pass"; "fail", the name does not lead back
to the address, or is wrong; "permerror", there is no name; "temperror", DNS has failed.
"""

from collections.abc import Collection
from typing import Literal

import attrs

from mailserver.policy.reputation.dnsbl import DnsblListing

NameResult = Literal["pass", "fail", "permerror", "temperror"]

WRONG: Collection[NameResult | None] = ("fail", "permerror")


@attrs.frozen
class ReverseName:
    """The result for the reverse DNS of a client, and the name that leads back to it, or ""."""

    result: NameResult
    name: str = ""


@attrs.frozen
class ClientReputation:
    """What others know of a client. ``reverse_dns`` and ``helo`` are None if they were not checked. ``score``
    is in points, and ``score_reasons`` are what they are for."""

    listings: tuple[DnsblListing, ...] = ()
    reverse_dns: ReverseName | None = None
    helo: NameResult | None = None
    score: int = 0
    score_reasons: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether a list vouches for the client."""
        return any(listing.zone.action == "accept" for listing in self.listings)

    @property
    def is_suspicious(self) -> bool:
        """Whether a list has the client as a bad one, or its names are wrong."""
        return (
            any(not listing.zone.is_good for listing in self.listings)
            or (self.reverse_dns is not None and self.reverse_dns.result in WRONG)
            or self.helo in WRONG
        )
