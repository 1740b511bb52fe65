"""The names this server knows, and where mail for each goes.

A table is made once from the configuration and never changes; a reload makes a new one. Aliases
and lists are followed to their ends here, so that routing a recipient is one look-up.
"""

from collections.abc import Iterable, Mapping, Sequence

from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination

# alice+anything@example.org is alice@example.org (RFC 5233 calls it subaddressing).
DETAIL_SEPARATOR = "+"
POSTMASTER = "postmaster"


class RoutingTable:
    """Final mailboxes by address."""

    def __init__(
        self,
        domains: Sequence[str],
        accounts: Iterable[Address],
        groups: Mapping[Address, Sequence[Address]],
        postmaster: Address | None = None,
    ) -> None:
        """``groups`` are the aliases and lists with their members. ``postmaster`` gets the mail for
        a postmaster whom nothing else names; without one the first account does."""
        self.domains = tuple(domains)
        self._accounts = {account.key: account for account in accounts}
        self._groups = {address.key: tuple(members) for address, members in groups.items()}
        self._postmaster = postmaster or next(iter(self._accounts.values()), None)
        self.problems: list[str] = []
        self._leads_elsewhere: set[Address] = set()
        self._mailboxes: dict[Address, tuple[Address, ...]] = {}
        for address in self._groups:
            self._resolve(address)

    def is_local(self, address: Address) -> bool:
        """True if the address is in one of our domains."""
        return address.domain in self.domains

    def known_as(self, address: Address) -> Address | None:
        """The name under which ``address`` is known here, without its detail; None if it is not."""
        key = address.key
        if self._is_name(key):
            return key
        user, separator, _ = key.local.partition(DETAIL_SEPARATOR)
        if separator and user:
            short = Address(user, key.domain)
            if self._is_name(short):
                return short
        return None

    def destinations(self, recipient: Address) -> tuple[Destination, ...] | None:
        """Where mail for ``recipient`` goes, each mailbox once; None for an unknown name."""
        name = self.known_as(recipient)
        if name is None:
            return None
        return tuple(Destination(mailbox, recipient) for mailbox in self._resolve(name))

    def leads_elsewhere(self, recipient: Address) -> bool:
        """True if some of the mail for ``recipient`` would have to leave this server."""
        return self.known_as(recipient) in self._leads_elsewhere

    def describe(self, name: Address) -> str:
        """``name`` as VRFY tells it: the address as it is configured."""
        return str(self._accounts.get(name, name))

    def _is_name(self, key: Address) -> bool:
        return key in self._accounts or key in self._groups or self._is_postmaster(key)

    def _is_postmaster(self, key: Address) -> bool:
        return key.local == POSTMASTER and self.is_local(key)

    def _resolve(self, name: Address) -> tuple[Address, ...]:
        found = self._mailboxes.get(name)
        if found is None:
            ends: dict[Address, None] = {}
            self._follow(name, (), ends)
            found = self._mailboxes[name] = tuple(ends)
            if any(not self.is_local(end) for end in found):
                self._leads_elsewhere.add(name)
        return found

    def _follow(self, name: Address, path: tuple[Address, ...], ends: dict[Address, None]) -> None:
        if name in path:
            loop = " -> ".join(str(step) for step in (*path[path.index(name) :], name))
            self.problems.append(f"the aliases run in a circle: {loop}")
            return
        if members := self._groups.get(name):
            for member in members:
                if not self.is_local(member):
                    ends[member] = None
                elif (known := self.known_as(member)) is not None:
                    self._follow(known, (*path, name), ends)
                else:
                    self.problems.append(f"{name} leads to {member}, which is no name here")
        elif account := self._accounts.get(name):
            ends[account.key] = None
        elif self._postmaster is None:
            # Nobody is there yet, but the mail is kept (RFC 5321 section 4.5.1).
            ends[name] = None
        elif not self.is_local(self._postmaster):
            ends[self._postmaster] = None
        elif (known := self.known_as(self._postmaster)) is not None and known != name:
            self._follow(known, (*path, name), ends)
        else:
            self.problems.append(f"postmaster leads to {self._postmaster}, which is no name here")
