"""The accounts of a fixture: those that a test adds, and those that exist because somebody logs in."""

from collections.abc import Callable

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mailserver.accounts.realm import MailUser
from mailserver.errors import AddressError
from mailserver.interfaces import IAuthenticator, IMaildrops, IMailUser
from mailserver.mail.address import Address
from mailserver.sasl.scram import derive_keys
from mailserver.sasl.steps import (
    CheckPassword,
    CheckToken,
    FetchKeys,
    FetchSecret,
    LoginQuestion,
    ScramKeys,
)

_CHALLENGES = ("CRAM-MD5", "APOP", "SCRAM-")
PASSWORD = "secret"
"""The password of accounts that no test has added, for mechanisms that never see a password."""
SCRAM_ITERATIONS = 4096  # the least that RFC 7677 allows
_SALT = bytes(16)


def sees_password(mechanism: str) -> bool:
    """Whether the server gets the password or a token, so that it can accept any."""
    return not mechanism.startswith(_CHALLENGES)


@implementer(IAuthenticator)
class FixtureAccounts:
    """Checks logins.

    ``on_demand``: an account that was not added exists, and accepts any password. ``domain`` is that of a
    bare local part.
    """

    def __init__(self, maildrops: IMaildrops, domain: str, *, on_demand: bool) -> None:
        self._maildrops = maildrops
        self._domain = domain
        self._on_demand = on_demand
        self._passwords: dict[Address, str] = {}

    def add(self, address: str, password: str) -> Address:
        """Add an account, or change its password. Raises AddressError."""
        account = self.address(address)
        self._passwords[account] = password
        return account

    @property
    def have_passwords(self) -> bool:
        """Whether all accounts, or those that a test has added, have a password."""
        return bool(self._passwords) or not self._on_demand

    def has(self, address: Address) -> bool:
        """Whether a test has added the account."""
        return address.key in self._passwords

    def address(self, name: str) -> Address:
        """The address of an account, given its name in any case. Raises AddressError."""
        return Address.parse(name if "@" in name else f"{name}@{self._domain}").key

    def log_in(self, question: LoginQuestion, client: str) -> Deferred[IMailUser]:
        """See :class:`~mailserver.interfaces.IAuthenticator`."""
        match question:
            case CheckPassword(name, secret) | CheckToken(secret, name):
                return self._admit(name, lambda right: right == secret)
        return self._admit(question.name, lambda right: True)

    def _admit(self, name: str, is_right: Callable[[str], bool]) -> Deferred[IMailUser]:
        try:
            address = self.address(name)
        except AddressError:
            return fail(UnauthorizedLogin())
        right = self._passwords.get(address)
        if not self._on_demand if right is None else not is_right(right):
            return fail(UnauthorizedLogin())
        user: IMailUser = MailUser(address, self._maildrops)
        return succeed(user)

    def keys(self, question: FetchKeys | FetchSecret, client: str) -> Deferred[ScramKeys | str | None]:
        """See :class:`~mailserver.interfaces.IAuthenticator`."""
        try:
            password = self._passwords.get(self.address(question.name), PASSWORD)
        except AddressError:
            password = PASSWORD
        if isinstance(question, FetchSecret):
            return succeed(password)
        return succeed(derive_keys(password, question.hash_name, _SALT, SCRAM_ITERATIONS))

    def normal(self, name: str) -> str:
        """See :class:`~mailserver.interfaces.IAuthenticator`."""
        try:
            return str(self.address(name))
        except AddressError:
            return name

    def admits(self, user: IMailUser) -> bool:
        """See :class:`~mailserver.interfaces.IAuthenticator`."""
        return True
