"""Answers questions about recipients and senders from the current routing table."""

import time
from collections.abc import Callable

from zope.interface import implementer

from mailserver.errors import AddressError
from mailserver.interfaces import IRouter
from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.srs import SRS, SRSInvalid
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    NOT_AUTHORIZED,
    Accept,
    CannotVerify,
    Destination,
    Forwarded,
    Members,
    Moved,
    Refuse,
    Routed,
)
from mailserver.routing.table import POSTMASTER, RoutingTable

KEY = "routing"  # the deciding key of all rejections here except those of senders
UNKNOWN = Refuse(BAD_MAILBOX, "no such user here", KEY)
NO_LIST = Refuse(BAD_MAILBOX, "no such mailing list here", KEY)
MAY_SEND = Accept("Ok")


@implementer(IRouter)
class Router:
    """Routes by a table. ``table`` may be replaced at any time.

    ``srs`` returns the scheme that rewrites the reverse-path of forwarded mail, or None: then it is kept.
    ``now`` returns the seconds since the epoch.
    """

    def __init__(
        self,
        table: RoutingTable,
        srs: Callable[[], SRS | None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.table = table
        self._srs = srs
        self._now = now

    @property
    def postmaster(self) -> Address:
        """See :class:`IRouter`."""
        return Address(POSTMASTER, self.table.domains[0])

    def route(self, recipient: Address) -> Routed | Moved | Refuse:
        """See :class:`IRouter`."""
        table = self.table
        routed = table.routes.get(recipient)
        if routed is not None:
            return routed
        if not table.is_local(recipient):
            return Routed((Destination(recipient, recipient, remote=True),), relayed=True)
        name = table.name_of(recipient)
        if recipient == name:
            recipient = name  # comparing the same object costs nothing
        if name is not None and (new := table.moved(name)) is not None:
            return Moved(new)
        if name is None and (srs := self._srs()) is not None and srs.is_rewritten(recipient):
            return self._return(srs, recipient)
        destinations = table.destinations(recipient, name)
        if destinations is None:
            return Refuse(BAD_MAILBOX, f"{format_path(recipient)}: no such user here", KEY)
        routed = Routed(destinations, table.announced(name) if name is not None else None)
        if recipient is name:
            table.routes[recipient] = routed
        return routed

    def _return(self, srs: SRS, recipient: Address) -> Routed | Moved | Refuse:
        """The way back to the sender whose address ``recipient`` was made of."""
        try:
            sender = srs.original(recipient, self._now())
        except SRSInvalid as error:
            return Refuse(BAD_MAILBOX, f"{format_path(recipient)}: {error}", "forward.srs")
        if self.table.is_local(sender):
            return self.route(sender)  # the domain has become local since; the address gets ever shorter
        return Routed((Destination(sender, recipient, remote=True),), bounces_only=True)

    def forward_path(self, reverse_path: Address) -> Address:
        """See :class:`IRouter`."""
        srs = self._srs()
        return reverse_path if srs is None else srs.rewritten(reverse_path, self._now())

    def sender(self, account: Address, reverse_path: ReversePath) -> Accept | Refuse:
        """See :class:`IRouter`."""
        if self.table.may_send(account, reverse_path):
            return MAY_SEND
        # The text is the same whether the address belongs to another account or does not exist.
        text = f"{format_path(reverse_path)} does not belong to your account"
        return Refuse(NOT_AUTHORIZED, text, "submission.senders")

    def verify(self, name: str) -> Accept | Forwarded | Moved | Refuse | CannotVerify:
        """See :class:`IRouter`."""
        table = self.table
        address = self._address(name)
        if address is None:
            return UNKNOWN
        if not table.is_local(address):
            return CannotVerify()
        known = table.name_of(address)
        if known is None:
            # A catch-all accepts mail for any name, so it cannot confirm one.
            return UNKNOWN if table.destinations(address, None) is None else CannotVerify()
        if (new := table.moved(known)) is not None:
            return Moved(new)
        if (path := table.announced(known)) is not None:
            return Forwarded(path)
        return Accept(format_path(table.describe(known)))

    def expand(self, name: str) -> Members | Refuse | CannotVerify:
        """See :class:`IRouter`."""
        address = self._address(name)
        if address is None:
            return NO_LIST
        if not self.table.is_local(address):
            return CannotVerify()
        known = self.table.name_of(address)
        members = self.table.members(known) if known is not None else None
        return NO_LIST if members is None else Members(members)

    def _address(self, asked: str) -> Address | None:
        """The requested address, with the first local domain if it has none; None if it is malformed."""
        try:
            whole = asked if "@" in asked else f"{asked}@{self.table.domains[0]}"
            return Address.parse(whole, any_dots=True)
        except AddressError:
            return None
