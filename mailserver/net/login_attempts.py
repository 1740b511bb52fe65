"""The login attempts of one client, for any protocol.

The questions of a SASL mechanism go to the accounts, unless the guard blocks the attempt. The result is
logged, and the reply to a failed login is delayed.
"""

from collections.abc import Callable

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred

from mailserver.errors import StorageError
from mailserver.events.base import report
from mailserver.events.connections import LoginRejected
from mailserver.interfaces import IAuthenticator, IMailUser
from mailserver.net.guard import POLL_INTERVAL
from mailserver.net.limits import Limits
from mailserver.sasl.steps import (
    Denied,
    FetchKeys,
    FetchSecret,
    Granted,
    LoginQuestion,
    Question,
    Reason,
    ScramKeys,
)

MAX_NAME = 320  # characters of a user name in the log

# Waits for a number of seconds.
Wait = Callable[[float], Deferred[None]]
Answer = Granted | Denied | ScramKeys | str | None


class LoginAttempts:
    """``user`` is the avatar of the account after a login, None before, and ``mechanism`` that of the
    login."""

    __slots__ = (
        "_authenticator",
        "_blocked",
        "_client",
        "_due",
        "_ip",
        "_limits",
        "_protocol",
        "_session",
        "_under_way",
        "mechanism",
        "user",
    )

    def __init__(
        self,
        protocol: str,
        session: str,
        ip: str,
        client: str,
        authenticator: IAuthenticator,
        limits: Limits,
    ) -> None:
        """``protocol`` is for the log. ``session`` is the id of the connection, ``client`` the key of the
        address ``ip`` in the limits."""
        self.user: IMailUser | None = None
        self.mechanism = ""
        self._protocol = protocol
        self._session = session
        self._ip = ip
        self._client = client
        self._authenticator = authenticator
        self._limits = limits
        self._under_way = False
        self._blocked = False
        # The delay of the reply to a failed login that is counted and logged, in seconds.
        self._due: float | None = None

    async def answer(self, mechanism: str, question: Question, wait_for: Wait) -> Answer:
        """Answer a question of a mechanism."""
        name = self._authenticator.normal(getattr(question, "name", ""))
        guard = self._limits.guard
        if not self._under_way:
            # The first question of an exchange. A block gets no reply of its own, so that the client learns
            # nothing.
            self._under_way = True
            if wait := guard.begin(self._client, name):
                await wait_for(wait)
        try:
            if isinstance(question, FetchKeys | FetchSecret):
                return await self._authenticator.keys(question, self._client or self._ip)
            self.user = user = await self._log_in(question, name, wait_for)
            self.mechanism = mechanism
        except UnauthorizedLogin:
            # Count it now, since the client may disconnect before the reply.
            self._failed(mechanism, name, Reason.CREDENTIALS.value)
            return Denied()
        except CancelledError:
            self._failed(mechanism, name, "the client disconnected before the reply")
            raise
        except StorageError as error:
            self._failed(mechanism, name, str(error), "storage")
            return Denied(Reason.TEMPORARY)
        guard.succeeded(self._client, name)
        self.finish()
        return Granted(str(user.address))

    async def _log_in(self, question: LoginQuestion, name: str, wait_for: Wait) -> IMailUser:
        guard = self._limits.guard
        while not self._is_blocked(name) and not guard.may_check(self._client, name):
            await wait_for(POLL_INTERVAL)
        if self._blocked:
            raise UnauthorizedLogin
        try:
            user = await self._authenticator.log_in(question, self._client or self._ip)
        finally:
            guard.checked(self._client, name)
        if self._is_blocked(name):
            raise UnauthorizedLogin
        return user

    def _is_blocked(self, name: str) -> bool:
        """Whether the name is blocked. Other attempts during this one count, too."""
        self._blocked = self._blocked or self._limits.guard.blocked(self._client, name)
        return self._blocked

    async def rejected(self, mechanism: str, name: str, reason: Reason, wait_for: Wait) -> None:
        """A login has failed. Fires when the reply may be sent."""
        rule = "accounts" if reason is Reason.CREDENTIALS else "protocol"
        if self._due is None and reason.counts:
            self._failed(mechanism, self._authenticator.normal(name), reason.value, rule)
        elif self._due is None:
            self._log(mechanism, name, reason.value, rule)
        due, self._due = self._due, None
        self.finish()
        if due:
            await wait_for(due)

    def finish(self) -> None:
        """The attempt is over, or the client has disconnected."""
        if self._under_way:
            self._under_way = self._blocked = False
            self._limits.guard.end(self._client)

    def _failed(self, mechanism: str, name: str, reason: str, rule: str = "accounts") -> None:
        if self._blocked:
            reason, rule = "blocked after too many failed logins", "limits.auth_block"
        self._log(mechanism, name, reason, rule)
        self._due = self._limits.guard.failed(self._client, name, wrong=rule != "storage")

    def _log(self, mechanism: str, name: str, reason: str, rule: str) -> None:
        report(
            LoginRejected(
                user=name[:MAX_NAME],
                client=self._ip,
                session=self._session,
                protocol=self._protocol,
                mechanism=mechanism,
                reason=reason,
                rule=rule,
            )
        )
