"""Answers the questions of SASL mechanisms, by a portal of twisted.cred and by the keys of the accounts."""

from collections.abc import Callable
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailserver.accounts.cred import BearerToken, NamedPassword, ProvenName, VouchedAddresses
from mailserver.accounts.directory import AccountDirectory
from mailserver.accounts.keyring import KeyRing
from mailserver.interfaces import IAuthenticator, IMailUser
from mailserver.sasl.steps import (
    Admit,
    AdmitVouched,
    CheckPassword,
    CheckToken,
    FetchKeys,
    FetchSecret,
    LoginQuestion,
    ScramKeys,
)


@implementer(IAuthenticator)
class Authenticator:
    """All listeners share it. ``directory`` returns the accounts in force."""

    def __init__(self, portal: Portal, keys: KeyRing, directory: Callable[[], AccountDirectory]) -> None:
        self._portal = portal
        self._keys = keys
        self._directory = directory

    def log_in(self, question: LoginQuestion, client: str) -> Deferred[IMailUser]:
        """See :class:`IAuthenticator`."""
        credentials: NamedPassword | BearerToken | ProvenName | VouchedAddresses
        match question:
            case CheckPassword(name, password, acting_as):
                credentials = NamedPassword(name, password, acting_as, client)
            case CheckToken(token, name):
                credentials = BearerToken(token, name)
            case Admit(name, acting_as):
                credentials = ProvenName(name, acting_as)
            case AdmitVouched(addresses, acting_as):
                credentials = VouchedAddresses(addresses, acting_as)
        # Any: cred has no type for the result of a login.
        login: Deferred[Any] = self._portal.login(credentials, None, IMailUser)
        return login.addCallback(lambda found: found[1])

    def keys(self, question: FetchKeys | FetchSecret, client: str) -> Deferred[ScramKeys | str | None]:
        """See :class:`IAuthenticator`."""
        if isinstance(question, FetchKeys):
            # Any: Deferred is invariant, and the result of the method is a union.
            keys: Deferred[Any] = self._keys.scram(question.name, question.hash_name, client)
            return keys
        return succeed(self._keys.secret(question.name))

    def normal(self, name: str) -> str:
        """See :class:`IAuthenticator`."""
        return self._directory().normal_form(name)

    def admits(self, user: IMailUser) -> bool:
        """See :class:`IAuthenticator`."""
        return self._directory().may_log_in(user.address)
