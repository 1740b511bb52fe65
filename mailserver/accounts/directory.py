"""The accounts as values, and the directory that finds them by name.

A user name is the address of an account, or the local part of one in the first domain. Names are compared in
a normal form: SASLprep (RFC 4013), with the local part in lower case. A lookup takes the same steps whether
the name exists or not, so that its time does not reveal it. Addresses from certificates and tokens are
compared exactly, since ``\uff41lice`` may be another user to their issuer (RFC 6943 section 5).
"""

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from copy import copy

import attrs
from argon2 import PasswordHasher

from mailserver.accounts.passwords import StoredPassword
from mailserver.mail.address import Address
from mailserver.sasl.prep import prepared
from mailserver.sasl.steps import ScramKeys


@attrs.frozen
class AppPassword:
    """A password for one program. Times are seconds since the epoch, 0 for never."""

    name: str
    digest: bytes = attrs.field(repr=False)
    made: float = 0.0
    used: float = 0.0


def app_password_digest(text: str) -> bytes:
    """The stored digest of an app password. Dashes, blanks and case do not matter.

    One round of SHA-256 is enough: app passwords are random and cannot be guessed.
    """
    plain = "".join(text.split()).replace("-", "").casefold()
    return hashlib.sha256(plain.encode("utf-8", "replace")).digest()


def _prepared(secret: str | None) -> str | None:
    return None if secret is None else prepared(secret)


def _prepared_plain(password: StoredPassword | None) -> StoredPassword | None:
    if password is None or password.scheme != "plain":
        return password
    return attrs.evolve(password, value=prepared(password.value))


@attrs.frozen
class Account:
    """One account.

    ``password`` is None if the account has no password of its own. ``scram`` has keys by the name of the
    hash. ``secret`` is the password itself, for CRAM-MD5 and APOP. ``stored``: the account is in the account
    store, and not in the configuration.

    Passwords in a readable form are prepared here (RFC 4013, RFC 6856 section 2.2): a login that prepares one
    takes steps that an unknown name does not take.
    """

    address: Address
    password: StoredPassword | None = attrs.field(converter=_prepared_plain)
    scram: Mapping[str, ScramKeys] = attrs.field(factory=dict)
    secret: str | None = attrs.field(default=None, converter=_prepared, repr=False)
    app_passwords: tuple[AppPassword, ...] = ()
    disabled: bool = False
    stored: bool = False

    @property
    def key(self) -> str:
        """The normal form of the address, which is the avatar id of the account."""
        return str(self.address.key)

    @property
    def plaintext(self) -> str | None:
        """The password itself, if it is stored in a readable form."""
        if self.secret is None and self.password is not None and self.password.scheme == "plain":
            return self.password.value
        return self.secret


NOBODY = Account(Address("nobody", "invalid"), None)
"""Stands in for the account of an unknown name, so that a login takes the same steps."""


class AccountDirectory:
    """All accounts by name. It never changes: :meth:`changed` returns another one."""

    def __init__(self, accounts: Iterable[Account], domain: str) -> None:
        """A user name without a domain is in ``domain``."""
        self._domain = domain
        # An account is found by its own spelling, and by its prepared one if no other account has that.
        self._accounts: dict[str | None, Account] = {}
        self._prepared: dict[str | None, tuple[Account, ...]] = {}
        self._exact: dict[str, Account] = {}
        self._spelled: dict[str, Account] = {}
        self._app_passwords: dict[tuple[str, bytes], AppPassword] = {}
        # A password of each kind in use, and the number of accounts with that kind.
        self._kinds: dict[str, tuple[StoredPassword, int]] = {}
        self._dummy = _dummy_password()
        for account in accounts:
            self._add(account)

    def addresses(self) -> list[Address]:
        """The addresses of all accounts, sorted."""
        return sorted({one.address for one in self._exact.values()}, key=str)

    def changed(self, accounts: Mapping[Address, Account | None]) -> "AccountDirectory":
        """The directory after these changes; None removes an account.

        The cost is a copy of the tables, and the work for ``accounts``.
        """
        other = copy(self)
        other._accounts = dict(self._accounts)
        other._prepared = dict(self._prepared)
        other._exact = dict(self._exact)
        other._spelled = dict(self._spelled)
        other._app_passwords = dict(self._app_passwords)
        other._kinds = dict(self._kinds)
        for key, account in accounts.items():
            other._remove(str(key))
            if account is not None:
                other._add(account)
        return other

    def _add(self, account: Account) -> None:
        key, exact = account.key, str(account.address)
        self._accounts[key] = account
        self._exact[exact] = self._spelled[_lower(exact)] = account
        if (other := self._other_form(account)) != key:
            known = (*self._prepared.get(other, ()), account)
            self._prepared[other] = tuple(sorted(known, key=lambda one: one.key))
        if not account.disabled:
            self._app_passwords.update({(key, app.digest): app for app in account.app_passwords})
        self._count(account, 1)

    def _remove(self, key: str) -> None:
        account = self._accounts.pop(key, None)
        if account is None:
            return
        exact = str(account.address)
        del self._exact[exact], self._spelled[_lower(exact)]
        if (other := self._other_form(account)) != key:
            self._prepared[other] = tuple(one for one in self._prepared[other] if one is not account)
        for app in account.app_passwords:
            self._app_passwords.pop((key, app.digest), None)
        self._count(account, -1)

    def _other_form(self, account: Account) -> str:
        address = str(account.address)
        if address.isascii():
            return account.key  # SASLprep changes no ASCII
        return self._parse(prepared(address)) or account.key

    def _count(self, account: Account, number: int) -> None:
        password = account.password
        if account.disabled or password is None or password.scheme == "none":
            return
        # A password that is no longer in use may stay the sample of its kind: it takes the same time.
        sample, before = self._kinds.get(password.kind, (password, 0))
        self._kinds[password.kind] = (sample, before + number)
        if not before + number:
            del self._kinds[password.kind]

    @property
    def accounts(self) -> Iterable[Account]:
        """All accounts."""
        return self._accounts.values()

    def has(self, address: Address) -> bool:
        """Whether there is an account with this address, disabled or not."""
        return str(address.key) in self._accounts

    def find(self, name: str) -> Account | None:
        """The account that a user name means, disabled or not."""
        return self._look_up(name)[0]

    def admits(self, name: str) -> Account | None:
        """Like :meth:`find`, but only accounts that may log in."""
        account = self.find(name)
        return account if account is not None and not account.disabled else None

    def may_log_in(self, address: Address) -> bool:
        """Whether the address, in any of its spellings, is that of an account that may log in."""
        account = self._accounts.get(str(address.key))
        return account is not None and not account.disabled

    def vouched(self, address: str) -> Account | None:
        """The account with exactly this address, apart from the case of the domain, if it may log in."""
        local, at, domain = address.rpartition("@")
        account = self._exact.get(local + at + _lower(domain))
        return account if account is not None and not account.disabled else None

    def named(self, name: str) -> Account | None:
        """Like :meth:`vouched`, for a name from an external checker: any case, the domain may be missing."""
        account = self._spelled.get(_lower(name if "@" in name else f"{name}@{self._domain}"))
        return account if account is not None and not account.disabled else None

    def normal_form(self, name: str) -> str:
        """The same text for all spellings of a name, whether the name exists or not."""
        account, address = self._look_up(name)
        known = (account or NOBODY).key
        return known if account is not None else address or name

    def _look_up(self, name: str) -> tuple[Account | None, str | None]:
        """The account, and the prepared name as an address. Both spellings are always looked up."""
        exact, address = self._parse(name), self._parse(prepared(name))
        found = [
            account
            for spelling in (exact, address)
            for account in (self._accounts.get(spelling), *self._prepared.get(spelling, ()))
            if account is not None
        ]
        return next(iter(found), None), address

    def app_password(self, account: Account, text: str) -> AppPassword | None:
        """The app password of the account that ``text`` is, if any."""
        # The time of a lookup by digest reveals nothing about the stored digests.
        return self._app_passwords.get((account.key, app_password_digest(text)))

    @property
    def kinds(self) -> Mapping[str, StoredPassword]:
        """A stored password of each kind in use, by kind; never empty.

        Each failed login costs one verification of each kind.
        """
        if not self._kinds:
            return {self._dummy.kind: self._dummy}
        return {kind: sample for kind, (sample, _) in self._kinds.items()}

    def _parse(self, name: str) -> str | None:
        try:
            address = name if "@" in name else f"{name}@{self._domain}"
            return str(Address.parse(address, any_dots=True).key)
        except ValueError:
            return None


def _lower(text: str) -> str:
    """Change ASCII letters only. str.lower() turns other characters into ASCII, such as the kelvin sign."""
    return text.encode(errors="surrogatepass").lower().decode(errors="surrogatepass")


def _dummy_password() -> StoredPassword:
    """An argon2id hash with the cost of a new one, which no password matches."""
    now = PasswordHasher()
    salt, digest = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
    cost = f"m={now.memory_cost},t={now.time_cost},p={now.parallelism}"
    return StoredPassword("argon2", f"$argon2id$v=19${cost}${salt}${digest}")
