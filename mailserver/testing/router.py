"""Where mail goes in a fixture: to a maildrop made on demand, or to the outbox."""

from typing import Literal

from zope.interface import implementer

from mailserver.errors import AddressError
from mailserver.interfaces import IRouter
from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.verdict import BAD_MAILBOX, Accept, CannotVerify, Destination, Refuse, Routed
from mailserver.testing.accounts import FixtureAccounts

KEY = "accept"
Acceptance = Literal["any", "accounts", "relay"]
ACCEPTANCES: tuple[Acceptance, ...] = ("any", "accounts", "relay")


@implementer(IRouter)
class FixtureRouter:
    """Accepts mail for ``any`` address, for ``accounts`` only, or also for others, to ``relay`` it."""

    def __init__(self, accounts: FixtureAccounts, accept: Acceptance, domain: str) -> None:
        self._accounts = accounts
        self._accept = accept
        self.postmaster = Address("postmaster", domain)

    def route(self, recipient: Address) -> Routed | Refuse:
        """See :class:`~mailserver.interfaces.IRouter`."""
        is_here = self._accept == "any" or recipient.key == self.postmaster or self._accounts.has(recipient)
        if is_here or self._accept == "relay":
            mailbox = recipient.key if is_here else recipient
            return Routed((Destination(mailbox, recipient, remote=not is_here),), relayed=not is_here)
        return Refuse(BAD_MAILBOX, f"{format_path(recipient)}: no such user here", KEY)

    def forward_path(self, reverse_path: Address) -> Address:
        """See :class:`~mailserver.interfaces.IRouter`."""
        return reverse_path

    def sender(self, account: Address, reverse_path: ReversePath) -> Accept:
        """See :class:`~mailserver.interfaces.IRouter`. An account may send in any name."""
        return Accept("Ok")

    def verify(self, name: str) -> Accept | Refuse | CannotVerify:
        """See :class:`~mailserver.interfaces.IRouter`."""
        try:
            address = self._accounts.address(name)
        except AddressError:
            return Refuse(BAD_MAILBOX, "no such user here", KEY)
        if self._accounts.has(address):
            return Accept(format_path(address))
        return CannotVerify() if self._accept == "any" else Refuse(BAD_MAILBOX, "no such user here", KEY)

    def expand(self, name: str) -> Refuse:
        """See :class:`~mailserver.interfaces.IRouter`. There are no lists."""
        return Refuse(BAD_MAILBOX, "no such mailing list here", KEY)
