"""The contract between the account store and the engine that keeps its entries.

An engine keeps accounts, aliases and mailing lists by the keys of their addresses. It knows no rules: the
store (``store``) decides which names are free. The store calls one method at a time, from any thread. Methods
may block, and raise :class:`~mailserver.errors.StorageError`. A change is durable when its method returns. If
the method raises, the change may or may not have been made.
"""

from collections.abc import Collection, Mapping, Sequence

from zope.interface import Attribute, Interface

from mailserver.accounts.credentials import StoredCredentials
from mailserver.accounts.directory import Account, AppPassword
from mailserver.accounts.entries import StoredList
from mailserver.accounts.passwords import StoredPassword
from mailserver.mail.address import Address
from mailserver.mail.seen import Seen, SeenKey, SeenKind

DUMMY_KEY_SIZE = 32  # octets


class IAccountEngine(Interface):
    """Keeps the entries of the account store. It is open when it is built."""

    dummy_key: bytes = Attribute(
        "a random secret, which never changes: the SCRAM salts of unknown names are derived from it"
    )

    def close() -> None:
        """Release everything. May be called more than once."""

    def revision() -> int:
        """A number that is another one after a change of an entry by another server."""

    # ------------------------------------------------------------ reading

    def accounts() -> "Mapping[Address, Account]":
        """All accounts by key, in the order of the keys."""

    def account(key: Address) -> "Account | None":
        """One account."""

    def addresses() -> "Sequence[Address]":
        """The addresses of all accounts as they were added, in the order of their keys."""

    def aliases() -> "Mapping[Address, tuple[Address, ...]]":
        """The targets of all aliases by key, in the order of the keys."""

    def alias(key: Address) -> "tuple[Address, ...] | None":
        """The targets of one alias."""

    def lists() -> "Mapping[Address, StoredList]":
        """All mailing lists by key, in the order of the keys."""

    def mailing_list(key: Address) -> "StoredList | None":
        """One mailing list."""

    def keys() -> "Collection[Address]":
        """The keys of all entries."""

    def kind_of(key: Address) -> "str | None":
        """The kind of the entry with this key: "account", "alias", "list", or None."""

    # ------------------------------------------------------------ changes; an unknown key changes nothing

    def put_credentials(found: "Mapping[Address, StoredCredentials]") -> None:
        """Add these accounts, or replace the credentials of those that exist; all or none."""

    def replace_hash(key: Address, old: StoredPassword, new: StoredPassword) -> None:
        """Replace the password of an account, if it is still ``old``."""

    def set_disabled(key: Address, disabled: bool) -> None:
        """Disable or enable an account."""

    def remove_account(key: Address) -> None:
        """Remove an account with its keys and app passwords."""

    def rename(
        accounts: "Mapping[Address, Address]",
        removed: Collection[Address],
        aliases: "Mapping[Address, Sequence[Address]]",
        lists: "Mapping[Address, StoredList]",
    ) -> None:
        """Give accounts, by key, other addresses; their keys and app passwords stay with them. Then remove
        the aliases and lists with the keys ``removed``, and put ``aliases`` and ``lists``. All or none."""

    def add_app_password(key: Address, app_password: AppPassword) -> None:
        """Add an app password with a new name to an account."""

    def remove_app_password(key: Address, name: str) -> None:
        """Remove an app password."""

    def record_app_password_use(key: Address, name: str, when: float) -> None:
        """Record the time of the last use (seconds since the epoch)."""

    def put_alias(address: Address, targets: Sequence[Address]) -> None:
        """Add or replace an alias."""

    def remove_alias(key: Address) -> None:
        """Remove an alias."""

    def put_list(address: Address, entry: StoredList) -> None:
        """Add or replace a mailing list."""

    def remove_list(key: Address) -> None:
        """Remove a mailing list."""


class IHistoryEngine(Interface):
    """Keeps the history of contacts: who was seen, and when. It is open when it is built.

    It is apart from the account store, because it may be lost: without it some mail is deferred once more.
    Any thread may call its methods. They may block, and raise :class:`~mailserver.errors.StorageError`.
    """

    def close() -> None:
        """Release everything. May be called more than once."""

    def find(keys: "Collection[SeenKey]") -> "Mapping[SeenKey, Seen]":
        """The entries with these keys, without those that do not exist."""

    def put(entries: "Mapping[SeenKey, Seen]") -> None:
        """Add or replace entries; all or none."""

    def trim(kind: "SeenKind", before: float, most: int) -> None:
        """Remove the entries of a kind that were not seen since the time ``before``, and then, of more than
        ``most`` entries, those that were not seen for the longest time."""
