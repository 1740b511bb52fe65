"""Answers what the network asks about recipients, from the routing table in force."""

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailserver.errors import AddressError
from mailserver.interfaces import IRouter
from mailserver.mail.address import Address
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    NOT_AUTHORIZED,
    Accept,
    Defer,
    Refuse,
    Routed,
    WillNotTell,
)
from mailserver.routing.table import RoutingTable

NO_RELAY = Refuse(NOT_AUTHORIZED, "mail for that domain is not taken here (relaying denied)")
LEADS_ELSEWHERE = Refuse(
    NOT_AUTHORIZED, "the address leads to another server, and this one does not send mail on"
)


@implementer(IRouter)
class Router:
    """Routes by a table that may be replaced at any moment."""

    def __init__(self, table: RoutingTable) -> None:
        self.table = table

    def route(self, recipient: Address) -> Deferred[Routed | Defer | Refuse]:
        """See :class:`IRouter`."""
        return succeed(self._route(recipient))

    def _route(self, recipient: Address) -> Routed | Refuse:
        if not self.table.is_local(recipient):
            return NO_RELAY
        destinations = self.table.destinations(recipient)
        if destinations is None:
            return Refuse(BAD_MAILBOX, f"<{recipient}> is no mailbox here")
        if self.table.leads_elsewhere(recipient):
            return LEADS_ELSEWHERE
        return Routed(destinations)

    def verify(self, name: str) -> Deferred[Accept | Refuse | WillNotTell]:
        """See :class:`IRouter`."""
        return succeed(self._verify(name))

    def _verify(self, name: str) -> Accept | Refuse | WillNotTell:
        unknown = Refuse(BAD_MAILBOX, "that name is not known here")
        text = name if "@" in name else f"{name}@{self.table.domains[0]}"
        try:
            address = Address.parse(text)
        except AddressError:
            return unknown
        if not self.table.is_local(address):
            return WillNotTell()
        known = self.table.known_as(address)
        return unknown if known is None else Accept(f"<{self.table.describe(known)}>")
