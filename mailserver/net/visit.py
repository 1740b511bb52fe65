"""One client at the door: its logins, whatever the protocol.

What a SASL mechanism asks is passed to the accounts, unless too much was tried before; what comes of
it is logged, and a failure waits for its answer.
"""

from collections.abc import Callable

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mailserver.errors import StorageError
from mailserver.interfaces import IAuthenticator, IMailUser
from mailserver.net.limits import Limits
from mailserver.sasl.steps import (
    Denied,
    FetchKeys,
    FetchSecret,
    Granted,
    Question,
    Reason,
    ScramKeys,
)

Answer = Granted | Denied | ScramKeys | str | None


class Visit:
    """``user`` is the avatar of whoever has logged in."""

    log = Logger()

    __slots__ = ("_asked", "_authenticator", "_blocked", "_client", "_due", "_ip", "_limits", "_wait", "user")

    def __init__(
        self,
        ip: str,
        client: str,
        authenticator: IAuthenticator,
        limits: Limits,
        wait: Callable[[float], Deferred[None]],
    ) -> None:
        """``client`` is what the limits say of the address ``ip``; ``wait`` waits so many seconds."""
        self.user: IMailUser | None = None
        self._ip = ip
        self._client = client
        self._authenticator = authenticator
        self._limits = limits
        self._wait = wait
        self._asked = False
        self._blocked = False
        # Seconds until a failure that has been counted may be told.
        self._due: float | None = None

    async def answer(self, question: Question) -> Answer:
        """What a mechanism wants to know."""
        name = self._authenticator.normal(getattr(question, "name", ""))
        if not self._asked:
            # The first question of an exchange; a block is not told, so that it tells nothing.
            self._asked = True
            wait = self._limits.guard.before(self._client, name)
            self._blocked = wait is None
            if wait:
                await self._wait(wait)
        try:
            if isinstance(question, FetchKeys | FetchSecret):
                return await self._authenticator.keys(question, self._client or self._ip)
            if self._blocked:
                raise UnauthorizedLogin
            self.user = user = await self._authenticator.log_in(question, self._client or self._ip)
        except UnauthorizedLogin:
            # Counted now: the client may be gone before it is told.
            self._due = self._limits.guard.failed(self._client, name)
            return Denied()
        except CancelledError:
            # It has gone already, and what it gave was being looked at.
            self._limits.guard.failed(self._client, name)
            raise
        except StorageError as error:
            self.log.error(
                "login of {user!r} from {client} put off: {reason}",
                user=name,
                client=self._ip,
                reason=error,
                rule="storage",
            )
            self._due = self._limits.guard.failed(self._client, name)
            return Denied(Reason.TEMPORARY)
        self._asked = False
        self._limits.guard.succeeded(self._client, name)
        return Granted(str(user.address))

    async def refused(self, mechanism: str, name: str, reason: Reason) -> None:
        """A login has failed: fires when that may be told."""
        blocked, self._asked, self._blocked = self._blocked, False, False
        self.log.warn(
            "login refused: {user!r} from {client} by {mechanism}: {reason}",
            user=name,
            client=self._ip,
            mechanism=mechanism,
            reason="blocked after too many failures" if blocked else reason.value,
            rule="limits.auth_block" if blocked else "accounts",
        )
        due, self._due = self._due, None
        if due is None and reason is Reason.CREDENTIALS:
            due = self._limits.guard.failed(self._client, self._authenticator.normal(name))
        if due:
            await self._wait(due)
