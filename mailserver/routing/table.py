"""The names of this server and the mailboxes that they lead to.

A table is built from the configuration and the account store and never changes. A change of names needs a
new table, which any thread may build. Routing a recipient is one look-up.
"""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Destination, Routed
from mailserver.mail.verp import verp_path
from mailserver.routing.expansion import Ends, Expansion, ExpansionProblem

# alice+anything@example.org is alice@example.org (RFC 5233 calls it subaddressing).
DETAIL_SEPARATOR = "+"
POSTMASTER = "postmaster"
BOUNCES = "-bounces"


@attrs.frozen
class MailingList:
    """``members`` get the mail, ``owner`` gets the bounces; without an owner the postmaster gets them.

    With ``verp`` each member on another server has a bounce address of its own.
    """

    members: tuple[Address, ...]
    owner: Address | None = None
    verp: bool = False


@attrs.frozen(kw_only=True)
class Names:
    """All names of this server.

    ``announced`` has the aliases whose target clients may see. ``moved`` has the new addresses of former
    names. ``catch_all`` has, by domain, the address for all unknown names. ``postmaster`` gets the mail for
    each postmaster address that is no account, alias or list; without it the first account gets this mail.
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
    """Final mailboxes by address. ``problems`` has the errors of the configured names.

    ``routes`` caches results by recipient, for recipients that are spelled like their name.
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
        self._verp: set[Address] = set()  # bounce addresses
        bounces: dict[Address, Address] = {}
        for address, found in names.lists.items():
            self._groups[address.key] = found.members
            bounces[address.key] = Address(f"{address.local}{BOUNCES}", address.domain)
            if found.verp:
                self._verp.add(bounces[address.key])
            owner = found.owner or Address(POSTMASTER, address.domain)
            self._groups.setdefault(bounces[address.key].key, (owner,))
        self._postmasters = dict.fromkeys(Address(POSTMASTER, domain) for domain in self.domains)
        names_here = [*self._accounts, *self._groups, *self._moved, *self._postmasters]
        # One object for each name, so that comparisons are fast.
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

    # ------------------------------------------------------------ look-ups

    def is_local(self, address: Address) -> bool:
        """True if the address is in a local domain."""
        return address.domain in self._local

    def name_of(self, address: Address) -> Address | None:
        """The local name of ``address``, without its detail; None if it is unknown."""
        key = address.key
        if name := self._names.get(key):
            return name
        user, separator, _ = key.local.partition(DETAIL_SEPARATOR)
        if separator and user:
            return self._names.get(Address(user, key.domain))
        return None

    def moved(self, name: Address) -> Address | None:
        """The new address of a user who has moved."""
        return self._moved.get(name)

    def announced(self, name: Address) -> Address | None:
        """The target of an alias, if clients may see it."""
        return self._groups[name][0] if name in self._announced else None

    def members(self, name: Address) -> tuple[Address, ...] | None:
        """The members of a mailing list; None for any other name."""
        return self._lists.get(name)

    def describe(self, name: Address) -> Address:
        """``name`` as it is written in the configuration."""
        return self._accounts.get(name, name)

    def destinations(self, recipient: Address, name: Address | None) -> tuple[Destination, ...] | None:
        """The destinations of mail for ``recipient``, each mailbox once; None if there are none.

        ``name`` is the result of :meth:`name_of`. A destination that is no mailbox here is in another
        domain.
        """
        if name is None:
            name = self._catch_all.get(recipient.domain)
            if name is None:
                return None
        found = []
        for mailbox, bounces_to in self._ends(name).items():
            remote = mailbox.domain not in self._local
            if remote and bounces_to in self._verp:
                bounces_to = verp_path(bounces_to, mailbox)
            found.append(Destination(mailbox, recipient, bounces_to, remote))
        return tuple(found) or None

    # ------------------------------------------------------------ who may send as whom

    def may_send(self, account: Address, reverse_path: ReversePath) -> bool:
        """True if ``account`` may send mail with ``reverse_path``.

        An account may use its own name with any detail; each alias that leads to it, also through other
        aliases and if others share it; a name that a catch-all gives it; a postmaster address or the bounce
        address of a list, if that mail goes to it. Membership of a list does not count. Every account may
        use the null reverse-path (RFC 6409 section 3.2), which notifications and automatic replies have.
        """
        if reverse_path is None:
            return True
        name = self.name_of(reverse_path) or self._catch_all.get(reverse_path.domain)
        return name is not None and account.key in self._holders(name)

    def _holders(self, name: Address) -> frozenset[Address]:
        """The accounts that ``name`` is, or leads to through aliases only."""
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
        """The default recipient of a postmaster address."""
        if name.local == POSTMASTER and self.is_local(name) and self._postmaster is not None:
            return (self._postmaster,)
        return ()

    # ------------------------------------------------------------ construction

    def _all_groups(self) -> Iterator[tuple[Address, tuple[Address, ...]]]:
        """The aliases and lists that are in force, and the postmaster addresses without an account."""
        for name, members in self._groups.items():
            if name not in self._accounts and self.is_local(name):
                yield name, members
        for name in self._postmasters:
            if not (name in self._accounts or name in self._groups) and (duty := self._duty(name)):
                yield name, duty

    def _existing(self, address: Address, used_as: str) -> Address | None:
        """The name of ``address``; None, and a problem, if its domain is local and the name unknown."""
        if not self.is_local(address):
            return address
        name = self.name_of(address)
        if name is None or name in self._moved:
            text = f"{used_as} leads to {address}, which does not exist here"
            self.problems.append(ExpansionProblem(used_as, text))
            return None
        return name

    def _check_postmaster(self, name: Address) -> None:
        """Report a postmaster address that does not accept mail (RFC 5321 section 4.5.1)."""
        if name in self._moved:
            text = f"{name} has moved, but mail for postmaster must be accepted here"
        elif not self._local.issuperset([mailbox.domain for mailbox in self._ends(name)]):
            text = f"{name} leads to another server, but its mail must be accepted here"
        else:
            return
        self.problems.append(ExpansionProblem(str(name), text))

    def _ends(self, name: Address) -> Ends:
        return self._expansion.ends(name)
