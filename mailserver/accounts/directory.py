"""Who has an account here, and what each can prove itself with: values, whatever keeps them.

A name to log in by is the address of an account, or its bare local part in the first domain. Names
are compared in one normal form: SASLprep (RFC 4013), and local parts without regard to case. Looking a
name up takes the same steps whether or not somebody has it: the time must not tell. What others
vouch for is compared exactly, since ``\uff41lice`` may be somebody else to them (RFC 6943 section 5).
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
    """A password for one program of somebody's; times are seconds since the epoch, 0 for never."""

    name: str
    digest: bytes = attrs.field(repr=False)
    made: float = 0.0
    used: float = 0.0


def app_password_digest(text: str) -> bytes:
    """What is kept of an app password: dashes, blanks and case do not matter.

    One round of SHA-256 will do: app passwords are drawn, not chosen, and cannot be guessed.
    """
    plain = "".join(text.split()).replace("-", "").casefold()
    return hashlib.sha256(plain.encode("utf-8", "replace")).digest()


@attrs.frozen
class Account:
    """One account.

    ``password`` is None where only other checkers let it in. ``scram`` has keys by the name of the
    hash, ``secret`` the password itself where CRAM-MD5 and APOP are wanted. ``stored`` says whether the
    account database has it, which can be changed, or the configuration.
    """

    address: Address
    password: StoredPassword | None
    scram: Mapping[str, ScramKeys] = attrs.field(factory=dict)
    secret: str | None = attrs.field(default=None, repr=False)
    app_passwords: tuple[AppPassword, ...] = ()
    disabled: bool = False
    stored: bool = False

    @property
    def key(self) -> str:
        """The normal form of the address: what an account is known by when it has logged in."""
        return str(self.address.key)

    @property
    def plaintext(self) -> str | None:
        """The password itself, if it is kept in a form that can be read."""
        if self.secret is None and self.password is not None and self.password.scheme == "plain":
            return self.password.value
        return self.secret


NOBODY = Account(Address("nobody", "invalid"), None)
"""Stands in for an account where a name has none, so that the same is done for it."""


class AccountDirectory:
    """All accounts, by name. Never changes: :meth:`changed` makes another one."""

    def __init__(self, accounts: Iterable[Account], domain: str) -> None:
        """A bare local part is an account in ``domain``."""
        self._domain = domain
        # By its own spelling an account is found in any case, by the prepared one if no other has it.
        self._accounts: dict[str | None, Account] = {}
        self._prepared: dict[str | None, tuple[Account, ...]] = {}
        self._exact: dict[str, Account] = {}
        self._spelled: dict[str, Account] = {}
        self._app_passwords: dict[tuple[str, bytes], AppPassword] = {}
        # A password of each kind in use, and how many have one.
        self._kinds: dict[str, tuple[StoredPassword, int]] = {}
        self._nobodys = _nobodys_password()
        for account in accounts:
            self._add(account)

    def changed(self, accounts: Mapping[Address, Account | None]) -> "AccountDirectory":
        """With other accounts under these keys, or without them where there is None.

        Costs a copy of the tables, and otherwise only what ``accounts`` do.
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
        return self._parse(prepared(str(account.address))) or account.key

    def _count(self, account: Account, number: int) -> None:
        password = account.password
        if account.disabled or password is None or password.scheme == "none":
            return
        # One that is not in use any more may stand for its kind: it takes the same time.
        sample, before = self._kinds.get(password.kind, (password, 0))
        self._kinds[password.kind] = (sample, before + number)
        if not before + number:
            del self._kinds[password.kind]

    def find(self, name: str) -> Account | None:
        """The account that a name to log in by stands for, be it disabled or not."""
        return self._look_up(name)[0]

    def admits(self, name: str) -> Account | None:
        """As ``find``, but without the accounts that may not log in."""
        account = self.find(name)
        return account if account is not None and not account.disabled else None

    def vouched(self, address: str) -> Account | None:
        """The account with exactly this address, in which only the case of the domain does not matter.

        None, too, if it may not log in.
        """
        local, at, domain = address.rpartition("@")
        account = self._exact.get(local + at + _lower(domain))
        return account if account is not None and not account.disabled else None

    def named(self, name: str) -> Account | None:
        """As ``vouched``, for a name in another directory: any case, and perhaps without the domain."""
        account = self._spelled.get(_lower(name if "@" in name else f"{name}@{self._domain}"))
        return account if account is not None and not account.disabled else None

    def normal_form(self, name: str) -> str:
        """One text for all spellings of a name, also of one that nobody has."""
        account, address = self._look_up(name)
        known = (account or NOBODY).key
        return known if account is not None else address or name

    def _look_up(self, name: str) -> tuple[Account | None, str | None]:
        """The account, and the address that the prepared name is. Both spellings are always tried."""
        exact, address = self._parse(name), self._parse(prepared(name))
        found = [
            account
            for spelling in (exact, address)
            for account in (self._accounts.get(spelling), *self._prepared.get(spelling, ()))
            if account is not None
        ]
        return next(iter(found), None), address

    def app_password(self, account: Account, text: str) -> AppPassword | None:
        """The account's app password that ``text`` is, if it is one."""
        # A search by digest takes no time that tells anything about the digests here.
        return self._app_passwords.get((account.key, app_password_digest(text)))

    @property
    def kinds(self) -> Mapping[str, StoredPassword]:
        """A stored password of each kind in use, by its kind; never empty.

        One verification of each is what every refusal costs.
        """
        if not self._kinds:
            return {self._nobodys.kind: self._nobodys}
        return {kind: sample for kind, (sample, _) in self._kinds.items()}

    def _parse(self, name: str) -> str | None:
        try:
            address = name if "@" in name else f"{name}@{self._domain}"
            return str(Address.parse(address, any_dots=True).key)
        except ValueError:
            return None


def _lower(text: str) -> str:
    """ASCII alone: str.lower() makes letters of ASCII of others, such as the sign for kelvin."""
    return text.encode(errors="surrogatepass").lower().decode(errors="surrogatepass")


def _nobodys_password() -> StoredPassword:
    """An argon2id hash that costs what a new one does and that no password fits."""
    now = PasswordHasher()
    salt, digest = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
    cost = f"m={now.memory_cost},t={now.time_cost},p={now.parallelism}"
    return StoredPassword("argon2", f"$argon2id$v=19${cost}${salt}${digest}")
