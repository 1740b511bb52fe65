"""Accounts with their passwords, as a checker for twisted.cred.

An unknown name and a wrong password fail alike and in the same time: whatever was asked, one
verification of each kind in use is paid.
"""

from collections.abc import Mapping

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mailserver.auth.passwords import StoredPassword
from mailserver.errors import AddressError
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address


@implementer(ICredentialsChecker)
class AccountChecker:
    """Checks names and passwords against a set of accounts that may be replaced at any moment."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self,
        passwords: Mapping[Address, StoredPassword],
        domain: str,
        reactor: IReactor,
        threads: ThreadPool,
    ) -> None:
        """``passwords`` by account; a bare local part is an account in ``domain``.

        ``threads`` is for hashing alone: somebody who tries passwords must not hold up the mail.
        """
        self._reactor = reactor
        self._threads = threads
        self._closed = False
        self.replace(passwords, domain)

    def replace(self, passwords: Mapping[Address, StoredPassword], domain: str) -> None:
        """Put another set of accounts in force; logins under way end by the old one."""
        self._passwords = {address.key: password for address, password in passwords.items()}
        self._domain = domain
        self._kinds = {password.kind: password for password in passwords.values()}

    def close(self) -> None:
        """Refuse whatever still waits to be verified."""
        self._closed = True

    def requestAvatarId(self, credentials: UsernamePassword) -> Deferred[bytes | tuple[()]]:
        """Fires with the account's address; fails with UnauthorizedLogin."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: UsernamePassword) -> bytes | tuple[()]:
        account = self._find(credentials.username)
        stored = self._passwords.get(account) if account is not None else None
        kinds = dict(self._kinds)
        if account is not None and stored is not None:
            if await self._verify(stored, credentials.password):
                return str(account).encode()
            kinds.pop(stored.kind, None)
        for password in kinds.values():
            await self._verify(password, credentials.password)
        raise UnauthorizedLogin

    def _find(self, name: bytes) -> Address | None:
        text = name.decode("utf-8", "replace")
        try:
            return Address.parse(text if "@" in text else f"{text}@{self._domain}").key
        except AddressError:
            return None

    async def _verify(self, stored: StoredPassword, password: bytes) -> bool:
        try:
            text = password.decode("utf-8")
        except UnicodeDecodeError:
            text = password.decode("latin-1")
        if not stored.slow:
            return stored.verify(text)
        return await deferToThreadPool(self._reactor, self._threads, self._verify_now, stored, text)

    def _verify_now(self, stored: StoredPassword, text: str) -> bool:
        return not self._closed and stored.verify(text)
