"""Answers what the network asks about recipients, from the routing table in force."""

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailserver.errors import AddressError
from mailserver.interfaces import IRouter
from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    NOT_AUTHORIZED,
    Accept,
    Defer,
    Forwarded,
    Members,
    Moved,
    Refuse,
    Routed,
    WillNotTell,
)
from mailserver.routing.table import RoutingTable

NO_RELAY = Refuse(NOT_AUTHORIZED, "mail for that domain is not taken here (relaying denied)")
LEADS_ELSEWHERE = Refuse(
    NOT_AUTHORIZED, "the address leads to another server, and this one does not send mail on"
)
UNKNOWN = Refuse(BAD_MAILBOX, "that name is not known here")
NO_LIST = Refuse(BAD_MAILBOX, "that name is no mailing list here")


@implementer(IRouter)
class Router:
    """Routes by a table that may be replaced at any moment."""

    def __init__(self, table: RoutingTable) -> None:
        self.table = table

    def route(self, recipient: Address) -> Deferred[Routed | Moved | Defer | Refuse]:
        """See :class:`IRouter`."""
        return succeed(self._route(recipient))

    def _route(self, recipient: Address) -> Routed | Moved | Refuse:
        table = self.table
        if not table.is_local(recipient):
            return NO_RELAY
        name = table.name_of(recipient)
        if name is not None and (new := table.moved(name)) is not None:
            return Moved(new)
        destinations = table.destinations(recipient, name)
        if destinations is None:
            return Refuse(BAD_MAILBOX, f"{format_path(recipient)} is no mailbox here")
        announced = table.announced(name) if name is not None else None
        if not table.ends_here(destinations):
            return LEADS_ELSEWHERE if announced is None else Moved(announced)
        return Routed(destinations, announced)

    def sender(self, account: Address, reverse_path: ReversePath) -> Deferred[Accept | Refuse]:
        """See :class:`IRouter`."""
        if self.table.may_send(account, reverse_path):
            return succeed(Accept("Ok"))
        # The same for a name of somebody else and for one of nobody.
        return succeed(Refuse(NOT_AUTHORIZED, f"{format_path(reverse_path)} is not an address of yours"))

    def verify(self, name: str) -> Deferred[Accept | Forwarded | Moved | Refuse | WillNotTell]:
        """See :class:`IRouter`."""
        return succeed(self._verify(name))

    def _verify(self, asked: str) -> Accept | Forwarded | Moved | Refuse | WillNotTell:
        table = self.table
        address = self._address(asked)
        if address is None:
            return UNKNOWN
        if not table.is_local(address):
            return WillNotTell()
        name = table.name_of(address)
        if name is None:
            # A catch-all takes mail for it without knowing it.
            return UNKNOWN if table.destinations(address, None) is None else WillNotTell()
        if (new := table.moved(name)) is not None:
            return Moved(new)
        if (path := table.announced(name)) is not None:
            ends = table.destinations(name, name) or ()
            return Forwarded(path) if table.ends_here(ends) else Moved(path)
        return Accept(format_path(table.describe(name)))

    def expand(self, name: str) -> Deferred[Members | Refuse | WillNotTell]:
        """See :class:`IRouter`."""
        return succeed(self._expand(name))

    def _expand(self, asked: str) -> Members | Refuse | WillNotTell:
        address = self._address(asked)
        if address is None:
            return NO_LIST
        if not self.table.is_local(address):
            return WillNotTell()
        name = self.table.name_of(address)
        members = self.table.members(name) if name is not None else None
        return NO_LIST if members is None else Members(members)

    def _address(self, asked: str) -> Address | None:
        """What is asked for, completed by the first of our domains; None if it is no address."""
        try:
            whole = asked if "@" in asked else f"{asked}@{self.table.domains[0]}"
            return Address.parse(whole, any_dots=True)
        except AddressError:
            return None
