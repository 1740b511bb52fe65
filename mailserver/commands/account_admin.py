"""The account store for the commands about accounts, aliases and lists; the parsing of their requests."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from mailserver.accounts.entries import StoredNames
from mailserver.accounts.store import AccountStore
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import CommandFailed, Request
from mailserver.errors import AccountError, AddressError
from mailserver.mail.address import Address, split_local_part
from mailserver.mail.names import composed, normal_form, require_clear, require_folder


@contextmanager
def _invalid_address() -> Iterator[None]:
    try:
        yield
    except AddressError as error:
        raise AccountError(f"invalid address: {error}") from None


@attrs.frozen(kw_only=True)
class AccountAdmin:
    """Changes the account store, with regard to the names in the configuration.

    ``taken``: the kind of each name in the configuration, by key: "account", "alias", "list" or "moved".
    ``mechanisms``: those of [auth]. ``problems`` returns the routing problems of all names, each with the
    name, or the domain with a catch-all, whose mail it affects. ``mail`` is the folder of the mailboxes, None
    if they are not on the disk. ``moved`` records durably which mailboxes, by key, move to other names.
    ``release`` forgets the move from a name that a new account gets, or raises if it is not complete.
    """

    accounts: AccountStore
    domains: Sequence[str]
    taken: Mapping[Address, str]
    mechanisms: Collection[str]
    problems: Callable[[StoredNames], Mapping[str, str]]
    mail: Path | None = None
    moved: Callable[[Mapping[Address, Address]], None] = lambda pairs: None
    release: Callable[[Address], None] = lambda address: None

    def address(self, text: str, domain: str | None = None) -> Address:
        """An address. A local part alone is in ``domain``, or in the first domain if that is None."""
        with _invalid_address():
            _, rest = split_local_part(text)
            return composed(Address.parse(text if rest else f"{text}@{domain or self.domains[0]}"))

    def name(self, text: str, domain: str | None = None) -> Address:
        """An address in one of the domains. Raises if the configuration has an entry with this name."""
        address = self.address(text, domain)
        with _invalid_address():
            require_clear(address)
        if address.domain not in self.domains:
            raise AccountError(
                f"{address} is not in a domain of this server; its domains: {', '.join(self.domains)}"
            )
        if address.key in self.taken:
            kind = self.taken[address.key]
            raise AccountError(f"{address} is in the configuration ({kind}); change it there")
        return address

    def require_new(self, address: Address, spellings: Mapping[Address, Address]) -> None:
        """Reject another spelling of an existing name: only one of the two could log in.

        ``spellings`` is what the method of that name returns.
        """
        other = spellings.get(normal_form(address), address)
        if other.key != address.key:
            raise AccountError(f"{address} is another Unicode form of {other}, which is taken")

    def require_mailbox(self, address: Address, spellings: Mapping[Address, Address]) -> None:
        """Like :meth:`require_new`, for an account: its name must also be valid as the name of a folder."""
        self.require_new(address, spellings)
        with _invalid_address():
            require_folder(address)

    def spellings(self) -> dict[Address, Address]:
        """All existing names by their normal form."""
        return {normal_form(name): name for name in (*self.taken, *self.accounts.keys())}

    def existing(self, text: str) -> Address:
        """The address of an entry of the account store, even if it could not be added now.

        For any other address, raises the reason why it cannot be added, if there is one.
        """
        address = self.address(text)
        return address if self.accounts.kind_of(address) is not None else self.name(text)

    def changeable(self, text: str) -> Address:
        """Like :meth:`existing`, for a change. Raises if the configuration overrides the entry."""
        address = self.existing(text)
        return self.name(str(address)) if address.key in self.taken else address

    def check(self, after: StoredNames) -> None:
        """Reject a change that creates an alias loop, or an alias without a valid target."""
        if new := self._new_problems(after):
            raise AccountError("; ".join(new))

    def check_unused(self, address: Address, after: StoredNames) -> None:
        """Reject the removal of a name that is a target of others. ``after`` has the names without it."""
        users = dict.fromkeys(map(self._user, self._new_problems(after).values()))
        if users:
            raise AccountError(f"{address} is still in use by {', '.join(users)}")

    def _new_problems(self, after: StoredNames) -> dict[str, str]:
        now = self.problems(self.accounts.names())
        return {text: owner for text, owner in self.problems(after).items() if text not in now}

    def _user(self, owner: str) -> str:
        if "@" not in owner:
            return f"the catch_all of {owner}"
        address = Address.parse(owner)
        kind = self.taken.get(address.key) or self.accounts.kind_of(address)
        # The names of postmasters, and those for the bounces of a list, need not be there.
        return f"the {kind} {owner}" if kind is not None else owner


def names_taken(config: Config) -> dict[Address, str]:
    """The names of the configuration; see :attr:`AccountAdmin.taken`."""
    return {
        each.address.key: kind
        for kind, group in (
            ("account", config.accounts),
            ("alias", config.aliases),
            ("list", config.lists),
            ("moved", config.moved),
        )
        for each in group
    }


# ------------------------------------------------------------ requests


def text_in(request: Request, member: str) -> str:
    """A member of a request that is a text. Raises :class:`~mailserver.control.channel.CommandFailed`."""
    return _text(request.get(member), member)


def texts_in(request: Request, member: str) -> list[str]:
    """A member of a request that is a non-empty array of texts. Raises as :func:`text_in`."""
    value = request.get(member)
    if not isinstance(value, list) or not value:
        raise CommandFailed(f"the request has no {member}")
    return [_text(each, member) for each in value]


def _text(value: object, member: str) -> str:
    if not isinstance(value, str) or not value:
        raise CommandFailed(f"the request has no {member}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CommandFailed(f"the {member} is not UTF-8") from None
    return value
