"""The checker of twisted.cred for the accounts of this server.

An unknown name and a wrong password fail in the same way and after the same time: each failure costs one
verification of each kind of password in use. The text of an UnauthorizedLogin is only for the log.
"""

from collections.abc import Callable, Sequence
from typing import cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from mailserver.accounts import external_checkers
from mailserver.accounts.cred import IBearerToken, IProvenName, IVouchedAddresses, NamedPassword
from mailserver.accounts.directory import NOBODY, Account, AccountDirectory, AppPassword
from mailserver.accounts.password_cache import VerifiedPasswordCache
from mailserver.accounts.passwords import StoredPassword
from mailserver.accounts.tokens import ITokenValidator
from mailserver.errors import StorageError
from mailserver.events.accounts import AccountNotWritten
from mailserver.events.base import report
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address
from mailserver.sasl.prep import prepared
from mailserver.threads.fair import FairThreadPool
from mailserver.threads.single_flight import SingleFlight

REPORTED_EVERY = 60.0  # seconds between two reports that an app password was used
NO_PASSWORD = StoredPassword("none", "")

AppPasswordUsed = Callable[[Address, AppPassword], object]
Upgrade = Callable[[Account, StoredPassword, str], object]


def _nothing(*args: object) -> None:
    """Ignore the report."""


@implementer(ICredentialsChecker)
class AccountChecker:
    """Checks credentials against a set of accounts, which may be replaced at any time.

    ``tokens`` and ``remembered.seconds`` may be set at any time. If ``tokens`` is None, only external
    checkers can accept a token.
    """

    credentialInterfaces = (IUsernamePassword, IBearerToken, IProvenName, IVouchedAddresses)

    def __init__(
        self,
        directory: AccountDirectory,
        reactor: IReactor,
        hashing: FairThreadPool,
        *,
        remember: float = 0.0,
        tokens: ITokenValidator | None = None,
        external: Sequence[ICredentialsChecker] = (),
        app_password_used: AppPasswordUsed = _nothing,
        upgrade: Upgrade = _nothing,
    ) -> None:
        """``hashing`` is a pool of its own, so that guessing does not delay mail.

        A correct password is remembered for ``remember`` seconds. ``external`` checkers are asked about
        tokens and passwords that this checker does not accept. ``app_password_used`` is called at most once a
        minute for each app password. ``upgrade`` is called with an account, its stored password and the
        password, if the password should be hashed again. Both may return a Deferred; no login waits for it.
        """
        self.tokens = tokens
        self.remembered = VerifiedPasswordCache(reactor, remember)
        self._directory = directory
        self._reactor = reactor
        self._hashing = hashing
        self._external = tuple(external)
        self._app_password_used = app_password_used
        self._upgrade = upgrade
        self._checks = SingleFlight[Account]()
        self._reported: dict[tuple[str, bytes], float] = {}

    def replace(self, directory: AccountDirectory) -> None:
        """Put another set of accounts in force. Running logins end with the old set."""
        self._directory = directory
        self._checks = SingleFlight()
        now = self._reactor.seconds()
        self._reported = {app: when for app, when in self._reported.items() if now - when < REPORTED_EVERY}

    def requestAvatarId(self, credentials: ICredentials) -> Deferred[bytes | tuple[()]]:
        """Fires with the normal form of the account's address.

        Fails with UnauthorizedLogin, and with :class:`~mailserver.errors.StorageError` if the check is
        impossible now.
        """
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: ICredentials) -> bytes | tuple[()]:
        directory = self._directory
        if IBearerToken.providedBy(credentials):
            account = await self._check_token(directory, credentials)
        elif IProvenName.providedBy(credentials):
            account = _agree(directory, directory.admits(credentials.name), credentials.acting_as)
        elif IVouchedAddresses.providedBy(credentials):
            account = _by_certificate(directory, credentials)
        else:
            if not isinstance(credentials, NamedPassword):
                plain = cast(UsernamePassword, credentials)
                credentials = NamedPassword(_text(plain.username), _text(plain.password))
            account = await self._check_password(directory, credentials)
            account = _agree(directory, account, credentials.acting_as)
        return account.key.encode()

    # ------------------------------------------------------------ tokens

    async def _check_token(self, directory: AccountDirectory, credentials: IBearerToken) -> Account:
        refused = UnauthorizedLogin("tokens are not accepted")
        try:
            if self.tokens is not None:
                name = await self.tokens.validate(credentials.token)
                return _agree(directory, directory.vouched(name), credentials.name)
        except UnauthorizedLogin as error:
            refused = error
        account = await external_checkers.ask(self._external, credentials, directory)
        if account is None:
            raise refused
        return _agree(directory, account, credentials.name)

    # ------------------------------------------------------------ passwords

    async def _check_password(self, directory: AccountDirectory, credentials: NamedPassword) -> Account:
        name, password = _text(credentials.username), _text(credentials.password)
        account = directory.admits(name)
        # The same lookups for an unknown name: they find nothing, but take the same time.
        app_password = directory.app_password(account or NOBODY, password)
        remembered = self._digest(account or NOBODY, password) in self.remembered
        if account is not None and app_password is not None:
            self._used(account, app_password)
            return account
        if account is not None and remembered:
            return account
        # The key has the name as it was given, so that it does not reveal whether the name exists.
        return await self._checks.join(
            self.remembered.digest(name, password),
            lambda: Deferred.fromCoroutine(self._check_slowly(directory, account, credentials)),
        )

    async def _check_slowly(
        self, directory: AccountDirectory, account: Account | None, credentials: NamedPassword
    ) -> Account:
        password = _text(credentials.password)
        kinds = dict(directory.kinds)
        # As given, and prepared (RFC 4013): other servers do not always prepare a password before hashing it.
        forms = tuple(dict.fromkeys((password, prepared(password))))
        own = (account or NOBODY).password or NO_PASSWORD
        kinds.pop(own.kind, None)
        if account is not None and own.scheme != NO_PASSWORD.scheme:
            right = await self._verify(own, forms, credentials.client)
            if right is not None:
                self._verified(account, own, password, right)
                return account
        granted, unsure = None, None
        try:
            # An LDAP server accepts an empty password as an unauthenticated bind (RFC 4513 section 5.1.2).
            if password:
                granted = await external_checkers.ask(self._external, credentials, directory)
        except StorageError as error:
            unsure = error
        if granted is not None:
            return granted
        for stored in kinds.values():
            await self._verify(stored, forms, credentials.client)
        raise unsure or UnauthorizedLogin(_why(directory, _text(credentials.username)))

    async def _verify(self, stored: StoredPassword, forms: Sequence[str], client: str) -> str | None:
        """The form of a password that matches, if any. The last form is the prepared one."""
        if not stored.slow:
            return forms[0] if stored.verify(forms[-1]) else None
        for form in forms:
            if await self._hashing.run(client, stored.verify, form):
                return form
        return None

    def _verified(self, account: Account, stored: StoredPassword, given: str, right: str) -> None:
        if not stored.slow:
            return
        self.remembered.add(self._digest(account, given))
        if account.stored and stored.outdated:
            self._notify(self._upgrade, account, stored, right)

    def _used(self, account: Account, app_password: AppPassword) -> None:
        known_by, now = (account.key, app_password.digest), self._reactor.seconds()
        reported = self._reported.get(known_by)
        if reported is None or now - reported >= REPORTED_EVERY:
            self._reported[known_by] = now
            self._notify(self._app_password_used, account.address, app_password)

    def _digest(self, account: Account, password: str) -> bytes:
        return self.remembered.digest(account.key, (account.password or NO_PASSWORD).value, password)

    def _notify(self, function: Callable[..., object], *args: object) -> None:
        # A correct login succeeds even if the write fails.
        maybeDeferred(function, *args).addErrback(lambda failure: report(AccountNotWritten(), failure))


def _by_certificate(directory: AccountDirectory, credentials: IVouchedAddresses) -> Account:
    wanted = directory.admits(credentials.acting_as) if credentials.acting_as else None
    for address in credentials.addresses if credentials.acting_as else credentials.addresses[:1]:
        account = directory.vouched(address)
        if account is not None and (account is wanted or not credentials.acting_as):
            return account
    names = ", ".join(map(repr, credentials.addresses))
    raise UnauthorizedLogin(f"{names}: no such account, a disabled one, or not {credentials.acting_as!r}")


def _agree(directory: AccountDirectory, account: Account | None, name: str) -> Account:
    """The account, if it may log in. If ``name`` is not "", it must mean the same account."""
    if account is None:
        raise UnauthorizedLogin("no such account, or a disabled one")
    if name:
        other = directory.admits(name)
        if other is None or other.key != account.key:
            raise UnauthorizedLogin(f"{account.key} is not {name!r}")
    return account


def _why(directory: AccountDirectory, name: str) -> str:
    account = directory.find(name)
    if account is None:
        return "no such account"
    return "the account is disabled" if account.disabled else "wrong password"


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")
