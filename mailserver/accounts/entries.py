"""The entries of the account store, as values; accounts themselves are in ``directory``."""

from collections.abc import Mapping

import attrs

from mailserver.accounts.directory import Account
from mailserver.mail.address import Address

KINDS = {"account": "an account", "alias": "an alias", "list": "a mailing list"}
"""The kinds of entries. A name belongs to one entry only, of whatever kind."""


@attrs.frozen
class StoredList:
    """A mailing list. Bounces go to ``owner``, or to the postmaster if that is None."""

    members: tuple[Address, ...]
    owner: Address | None = None


@attrs.frozen
class StoredNames:
    """The names of all entries. ``accounts`` are spelled as they were added; the mappings are by key."""

    accounts: tuple[Address, ...] = ()
    aliases: Mapping[Address, tuple[Address, ...]] = attrs.field(factory=dict)
    lists: Mapping[Address, StoredList] = attrs.field(factory=dict)


@attrs.frozen
class AccountChanges:
    """The current entry of each of these keys; None if there is no entry of that kind."""

    accounts: Mapping[Address, Account | None]
    aliases: Mapping[Address, tuple[Address, ...] | None]
    lists: Mapping[Address, StoredList | None]
