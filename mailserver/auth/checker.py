"""Accounts with their passwords, as a checker for twisted.cred.

An unknown name and a wrong password fail alike and in the same time: whatever was asked, one
verification of the costliest kind in use is paid.
"""

from collections.abc import Mapping

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from mailserver.auth.passwords import StoredPassword
from mailserver.errors import AddressError
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address

# Verified for those who have no account; the parameters are those of new hashes.
_NOBODY = {
    False: StoredPassword("plain", ""),
    True: StoredPassword(
        "argon2",
        "$argon2id$v=19$m=65536,t=3,p=4$Z/IpxlGaZYpg9m8ERhEpfg$E4/zjXJU1FoM3FtCOa8N9+2VIjkcsFpKLyCTeK9YK1o",
    ),
}


@implementer(ICredentialsChecker)
class AccountChecker:
    """Checks names and passwords against a set of accounts that may be replaced at any moment."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, passwords: Mapping[Address, StoredPassword], domain: str, reactor: IReactor) -> None:
        """``passwords`` by account; a bare local part is an account in ``domain``."""
        self._reactor = reactor
        self.replace(passwords, domain)

    def replace(self, passwords: Mapping[Address, StoredPassword], domain: str) -> None:
        """Put another set of accounts in force; logins under way end by the old one."""
        self._passwords = {address.key: password for address, password in passwords.items()}
        self._domain = domain
        self._dummy = _NOBODY[any(password.slow for password in passwords.values())]

    def requestAvatarId(self, credentials: UsernamePassword) -> Deferred[bytes | tuple[()]]:
        """Fires with the account's address; fails with UnauthorizedLogin."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: UsernamePassword) -> bytes | tuple[()]:
        account = self._find(credentials.username)
        stored = self._passwords.get(account) if account is not None else None
        if account is None or stored is None:
            await self._verify(self._dummy, credentials.password)
        elif await self._verify(stored, credentials.password):
            return str(account).encode()
        elif not stored.slow:
            await self._verify(self._dummy, credentials.password)
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
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), stored.verify, text)
