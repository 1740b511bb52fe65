"""Lists of client addresses, and what a lookup finds in them, for tests of the reputation of clients."""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailserver.net.expiring_table import ExpiringTable
from mailserver.policy.reputation.dnsbl import DnsblZone, ZoneAction
from mailserver.policy.reputation.lookup import NameWeights, ReputationLookup
from mailserver.policy.reputation.values import ClientReputation
from mailserver.reception.transaction import Client
from tests.support.resolvers import FakeResolver

HOSTNAME = "mail.example.org"
USUAL = ((IPv4Address("127.0.0.2"), IPv4Address("127.0.0.11")),)
CLIENT = Client(ip="192.0.2.99", helo="mail.sender.example", protocol="ESMTP", session="s1")
REVERSED = "99.2.0.192"
UNCHECKED = NameWeights()


def zone(
    name: str = "bl.example", action: ZoneAction = "refuse", weight: int = 0, number: int = 1
) -> DnsblZone:
    return DnsblZone(name, f"dnsbl[{number}]", action, USUAL, weight)


class Lookups:
    """A lookup over records, and its clock."""

    def __init__(
        self,
        records: Mapping[Any, Any],
        *zones: DnsblZone,
        names: NameWeights = UNCHECKED,
        remember: float = 60.0,
    ) -> None:
        self.clock = Clock()
        self.resolver = FakeResolver(records, self.clock)
        table: ExpiringTable[tuple[str, str], ClientReputation] = ExpiringTable(
            10, remember, self.clock.seconds
        )
        self.lookup = ReputationLookup(zones, names, self.resolver, self.clock, table, hostname=HOSTNAME)

    def find(self, client: Client = CLIENT) -> ClientReputation:
        """What is found, and it is found at once."""
        found = self.lookup.find(client)
        return arrived(found)


def arrived(result: Any) -> Any:
    """The result of a Deferred that has fired, or the value itself."""
    if not isinstance(result, Deferred):
        return result
    found: list[Any] = []
    result.addBoth(found.append)
    assert found, "there is no result yet"
    return found[0]
