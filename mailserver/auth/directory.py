"""Who has an account here, and what each can prove itself with: values, whatever keeps them.

A name to log in by is the address of an account, or its bare local part in the first domain. Names
are compared in one normal form: SASLprep (RFC 4013), and local parts without regard to case.
"""

import base64
import hashlib
import os
from collections.abc import Mapping

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
    """All accounts, by name. Never changes: a new one is put in its place."""

    def __init__(self, accounts: Mapping[Address, Account], domain: str) -> None:
        """A bare local part is an account in ``domain``."""
        self._domain = domain
        # By its own spelling an account is found in any case, by the prepared one if no other has it.
        self._accounts = {account.address.key: account for account in accounts.values()}
        for account in accounts.values():
            address = self._parse(prepared(str(account.address)))
            if address is not None:
                self._accounts.setdefault(address, account)
        open_to = [account for account in accounts.values() if not account.disabled]
        self._app_passwords = {
            (account.key, app.digest): app for account in open_to for app in account.app_passwords
        }
        stored = [account.password for account in open_to if account.password is not None]
        self._kinds = {password.kind: password for password in stored if password.scheme != "none"}
        if not self._kinds:
            nobodys = _nobodys_password()
            self._kinds[nobodys.kind] = nobodys

    def find(self, name: str) -> Account | None:
        """The account that a name to log in by stands for, be it disabled or not."""
        exact = self._parse(name)
        if exact is not None and exact in self._accounts:
            return self._accounts[exact]
        other = self._parse(prepared(name))
        return self._accounts.get(other) if other is not None else None

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
        # A search by digest takes no time that tells anything about the digests here.
        return self._app_passwords.get((account.key, app_password_digest(text)))

    @property
    def kinds(self) -> Mapping[str, StoredPassword]:
        """A stored password of each kind in use, by its kind; never empty.

        One verification of each is what every refusal costs.
        """
        return self._kinds

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
