"""Who has an account here, and what each can prove itself with: values, whatever keeps them.

A name to log in by is the address of an account, or its bare local part in the first domain. Names
are compared in one normal form: SASLprep (RFC 4013), and local parts without regard to case.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from copy import copy

import attrs
from argon2 import PasswordHasher

from mailserver.auth.passwords import StoredPassword
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
    hash, ``secret`` the password itself where CRAM-MD5 and APOP are wanted. ``kept`` says whether the
    account database has it, which can be changed, or the configuration.
    """

    address: Address
    password: StoredPassword | None
    scram: Mapping[str, ScramKeys] = attrs.field(factory=dict)
    secret: str | None = attrs.field(default=None, repr=False)
    app_passwords: tuple[AppPassword, ...] = ()
    disabled: bool = False
    kept: bool = False

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


class Directory:
    """All accounts, by name. Never changes: :meth:`changed` makes another one."""

    def __init__(self, accounts: Iterable[Account], domain: str) -> None:
        """A bare local part is an account in ``domain``."""
        self._domain = domain
        # By its own spelling an account is found in any case, by the prepared one if no other has it.
        self._accounts: dict[Address, Account] = {}
        self._prepared: dict[Address, tuple[Account, ...]] = {}
        # A password of each kind in use, and how many have one.
        self._kinds: dict[str, tuple[StoredPassword, int]] = {}
        self._nobodys = _nobodys_password()
        for account in accounts:
            self._add(account)

    def changed(self, accounts: Mapping[Address, Account | None]) -> "Directory":
        """With other accounts under these keys, or without them where there is None.

        Costs a copy of the tables, and otherwise only what ``accounts`` do.
        """
        other = copy(self)
        other._accounts = dict(self._accounts)
        other._prepared = dict(self._prepared)
        other._kinds = dict(self._kinds)
        for key, account in accounts.items():
            other._remove(key)
            if account is not None:
                other._add(account)
        return other

    def _add(self, account: Account) -> None:
        key = account.address.key
        self._accounts[key] = account
        if (other := self._other_form(account)) != key:
            known = (*self._prepared.get(other, ()), account)
            self._prepared[other] = tuple(sorted(known, key=lambda one: one.key))
        self._count(account, 1)

    def _remove(self, key: Address) -> None:
        account = self._accounts.pop(key, None)
        if account is None:
            return
        if (other := self._other_form(account)) != key:
            self._prepared[other] = tuple(one for one in self._prepared[other] if one is not account)
        self._count(account, -1)

    def _other_form(self, account: Account) -> Address:
        return self._parse(prepared(str(account.address))) or account.address.key

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
        for address in (self._parse(name), self._parse(prepared(name))):
            if address is not None:
                account = self._accounts.get(address) or next(iter(self._prepared.get(address, ())), None)
                if account is not None:
                    return account
        return None

    def admits(self, name: str) -> Account | None:
        """As ``find``, but without the accounts that may not log in."""
        account = self.find(name)
        return account if account is not None and not account.disabled else None

    def normal_form(self, name: str) -> str:
        """One text for all spellings of a name, also of one that nobody has."""
        account = self.find(name)
        if account is not None:
            return account.key
        address = self._parse(prepared(name))
        return name if address is None else str(address)

    def app_password(self, account: Account, text: str) -> AppPassword | None:
        """The account's app password that ``text`` is, if it is one."""
        digest = app_password_digest(text)
        known = [app for app in account.app_passwords if hmac.compare_digest(app.digest, digest)]
        return known[0] if known else None

    @property
    def kinds(self) -> Mapping[str, StoredPassword]:
        """A stored password of each kind in use, by its kind; never empty.

        One verification of each is what every refusal costs.
        """
        if not self._kinds:
            return {self._nobodys.kind: self._nobodys}
        return {kind: sample for kind, (sample, _) in self._kinds.items()}

    def _parse(self, name: str) -> Address | None:
        try:
            return Address.parse(name if "@" in name else f"{name}@{self._domain}").key
        except ValueError:
            return None


def _nobodys_password() -> StoredPassword:
    """An argon2id hash that costs what a new one does and that no password fits."""
    now = PasswordHasher()
    salt, digest = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
    cost = f"m={now.memory_cost},t={now.time_cost},p={now.parallelism}"
    return StoredPassword("argon2", f"$argon2id$v=19${cost}${salt}${digest}")
