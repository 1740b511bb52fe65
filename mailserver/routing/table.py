"""The names this server knows, and where mail for each goes.

A table is made once from the configuration and the account store and never changes; a change of names makes
a new one, which may be done in any thread. Routing a recipient is one look-up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Destination, Routed
from mailserver.routing.expansion import Ends, Expansion, ExpansionProblem

# alice+anything@example.org is alice@example.org (RFC 5233 calls it subaddressing).
DETAIL_SEPARATOR = "+"
POSTMASTER = "postmaster"
BOUNCES = "-bounces"


@attrs.frozen
class MailingList:
    """``members`` get the mail, ``owner`` what bounces; without one the postmaster does."""

    members: tuple[Address, ...]
    owner: Address | None = None


@attrs.frozen(kw_only=True)
class Names:
    """Everything that has a name here.

    ``announced`` are the aliases whose target is told to clients. ``moved`` has the new addresses of
    names that are no more, ``catch_all`` the address for all other names of a domain. ``postmaster``
    gets the mail for a postmaster whom nothing else names; without one the first account does.
    """

    domains: Sequence[str]
    accounts: Sequence[Address] = ()
    aliases: Mapping[Address, Sequence[Address]] = attrs.field(factory=dict)
    announced: Sequence[Address] = ()
    lists: Mapping[Address, MailingList] = attrs.field(factory=dict)
    moved: Mapping[Address, Address] = attrs.field(factory=dict)
    catch_all: Mapping[str, Address] = attrs.field(factory=dict)
    postmaster: Address | None = None


class RoutingTable:
    """Final mailboxes by address. ``problems`` tells what leads nowhere, in a circle, or too far.

    ``routes`` has the results for names that mail has come for, as far as recipients are spelled like them.
    """

    def __init__(self, names: Names) -> None:
        self.domains = tuple(names.domains)
        self._local = frozenset(names.domains)
        self._accounts = {account.key: account for account in names.accounts}
        self._groups = {address.key: tuple(members) for address, members in names.aliases.items()}
        self._announced = {address.key for address in names.announced}
        self._lists = {address.key: found.members for address, found in names.lists.items()}
        self._moved = {address.key: new for address, new in names.moved.items()}
        self._postmaster = names.postmaster or next(iter(names.accounts), None)
        bounces: dict[Address, Address] = {}
        for address, found in names.lists.items():
            self._groups[address.key] = found.members
            bounces[address.key] = Address(f"{address.local}{BOUNCES}", address.domain)
            owner = found.owner or Address(POSTMASTER, address.domain)
            self._groups.setdefault(bounces[address.key].key, (owner,))
        self._postmasters = dict.fromkeys(Address(POSTMASTER, domain) for domain in self.domains)
        names_here = [*self._accounts, *self._groups, *self._moved, *self._postmasters]
        # To the same value, which is the same object wherever it is found: comparing it costs nothing.
        self._names = {name: name for name in names_here}
        self._may_send_as: dict[Address, frozenset[Address]] = {}
        self.routes: dict[Address, Routed] = {}
        self.problems: list[ExpansionProblem] = []
        groups = {
            name: [end for member in members if (end := self._existing(member, str(name))) is not None]
            for name, members in self._all_groups()
        }
        self._expansion = Expansion(groups, bounces)
        self.problems += self._expansion.problems
        for name in self._postmasters:
            self._check_postmaster(name)
        self._catch_all = {domain: self._existing(to, domain) for domain, to in names.catch_all.items()}

    # ------------------------------------------------------------ what a name means

    def is_local(self, address: Address) -> bool:
        """True if the address is in one of our domains."""
        return address.domain in self._local

    def name_of(self, address: Address) -> Address | None:
        """The name under which ``address`` is known here, without its detail; None if it is not."""
        key = address.key
        if name := self._names.get(key):
            return name
        user, separator, _ = key.local.partition(DETAIL_SEPARATOR)
        if separator and user:
            return self._names.get(Address(user, key.domain))
        return None

    def moved(self, name: Address) -> Address | None:
        """Where somebody has gone."""
        return self._moved.get(name)

    def announced(self, name: Address) -> Address | None:
        """The address behind an alias that may be told."""
        return self._groups[name][0] if name in self._announced else None

    def members(self, name: Address) -> tuple[Address, ...] | None:
        """The members of a mailing list; None for a name that is none."""
        return self._lists.get(name)

    def describe(self, name: Address) -> Address:
        """``name`` as it is configured."""
        return self._accounts.get(name, name)

    def destinations(self, recipient: Address, name: Address | None) -> tuple[Destination, ...] | None:
        """Where mail for ``recipient`` goes, each mailbox once; None for a name that leads to none.

        ``name`` is what :meth:`name_of` gives for it. An end that is no mailbox of ours is in another
        domain.
        """
        if name is None:
            name = self._catch_all.get(recipient.domain)
            if name is None:
                return None
        ends = self._ends(name)
        return (
            tuple([Destination(mailbox, recipient, bounces_to) for mailbox, bounces_to in ends.items()])
            or None
        )

    def ends_here(self, destinations: Iterable[Destination]) -> bool:
        """True if all of these are mailboxes of ours."""
        return self._local.issuperset([end.mailbox.domain for end in destinations])

    # ------------------------------------------------------------ who may send as whom

    def may_send(self, account: Address, reverse_path: ReversePath) -> bool:
        """True if mail of ``account`` may go out with ``reverse_path``.

        It may where its own name stands, with any detail; an alias that leads to it, however many others
        share the alias or lie between; a name that a catch-all gives it; postmaster, and the address for
        the bounces of a list, if they are its duty. Who is a member of a list does not speak for it. The
        null reverse-path is everybody's (RFC 6409 section 3.2): notifications and automatic answers have it.
        """
        if reverse_path is None:
            return True
        name = self.name_of(reverse_path) or self._catch_all.get(reverse_path.domain)
        return name is not None and account.key in self._holders(name)

    def _holders(self, name: Address) -> frozenset[Address]:
        """The accounts that ``name`` is or leads to by way of aliases alone."""
        if name not in self._may_send_as:
            self._may_send_as[name] = frozenset(self._find_holders(name))
        return self._may_send_as[name]

    def _find_holders(self, name: Address) -> set[Address]:
        holders: set[Address] = set()
        seen: set[Address] = set()
        ahead: list[Address | None] = [name]
        while ahead:
            name_ahead = ahead.pop()
            if name_ahead is None or name_ahead in seen or name_ahead in self._moved:
                continue
            seen.add(name_ahead)
            if name_ahead in self._accounts:
                holders.add(name_ahead)
            elif name_ahead not in self._lists:
                ahead += map(self.name_of, self._groups.get(name_ahead) or self._duty(name_ahead))
        return holders

    def _duty(self, name: Address) -> tuple[Address, ...]:
        """Who has the postmaster's duties where nothing else says so, for the name of one."""
        if name.local == POSTMASTER and self.is_local(name) and self._postmaster is not None:
            return (self._postmaster,)
        return ()

    # ------------------------------------------------------------ where it ends

    def _all_groups(self) -> Iterator[tuple[Address, tuple[Address, ...]]]:
        """The aliases and lists that are in force, and the names of the postmasters of no account."""
        for name, members in self._groups.items():
            if name not in self._accounts and self.is_local(name):
                yield name, members
        for name in self._postmasters:
            if not (name in self._accounts or name in self._groups) and (duty := self._duty(name)):
                yield name, duty

    def _existing(self, address: Address, used_as: str) -> Address | None:
        """The name that ``address`` means; None, and a problem, if it is in our domains and means none."""
        if not self.is_local(address):
            return address
        name = self.name_of(address)
        if name is None or name in self._moved:
            text = f"{used_as} leads to {address}, which does not exist here"
            self.problems.append(ExpansionProblem(used_as, text))
            return None
        return name

    def _check_postmaster(self, name: Address) -> None:
        """Mail for the postmaster is always taken (RFC 5321 section 4.5.1)."""
        if name in self._moved:
            text = f"{name} has moved, but mail for postmaster must be accepted here"
        elif not self._local.issuperset([mailbox.domain for mailbox in self._ends(name)]):
            text = f"{name} leads to another server, but its mail must be accepted here"
        else:
            return
        self.problems.append(ExpansionProblem(str(name), text))

    def _ends(self, name: Address) -> Ends:
        return self._expansion.ends(name)
