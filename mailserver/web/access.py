"""Who asks: HTTP Basic (RFC 7617) and bearer tokens (RFC 6750), with the accounts and the limits of logins of
the mail ports.

A failed login is delayed, counted and logged as on a mail port, and ends the connection.
"""

import base64
import binascii
from collections.abc import Callable, Generator
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from mailserver.config.keys.web import WebSection
from mailserver.events.base import report
from mailserver.events.connections import LoginSucceeded
from mailserver.http.exchange import HTTPHead, HTTPProblem
from mailserver.interfaces import IAuthenticator, IReactor
from mailserver.mail.address import Address
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.limits import Limits
from mailserver.net.login_attempts import LoginAttempts
from mailserver.sasl.coding import MAX_TOKEN, to_name, to_text
from mailserver.sasl.plain import check_password
from mailserver.sasl.steps import CheckToken, Denied, Granted, LoginFailed, Reason
from mailserver.web.names import is_loopback

PROTOCOL = "web"
CHALLENGES = 'Basic realm="mailserver", charset="UTF-8", Bearer realm="mailserver"'
MOST_SESSIONS = 20_000
LOGGED_FOR = 3600.0  # seconds


@attrs.frozen(kw_only=True)
class Visitor:
    """Who asks. ``account`` is None for a program on this machine that ``web.open`` admits."""

    account: Address | None
    is_administrator: bool
    client: str
    session: str

    @property
    def name(self) -> str:
        """For the log."""
        return str(self.account or "")


class Access:
    """Finds out who asks. For the reactor's thread."""

    def __init__(
        self,
        authenticator: IAuthenticator,
        limits: Limits,
        section: Callable[[], WebSection],
        reactor: IReactor,
    ) -> None:
        """``section`` returns the one in force."""
        self._authenticator = authenticator
        self._limits = limits
        self._section = section
        self._reactor = reactor
        self._logged: ExpiringTable[tuple[str, Address], bool] = ExpiringTable(
            MOST_SESSIONS, LOGGED_FOR, reactor.seconds
        )

    async def visitor(self, head: HTTPHead) -> Visitor | None:
        """Who sends this request; None if it has no credentials. Raises HTTPProblem, 401 or 503."""
        authorization = head.field("authorization")
        if authorization is None:
            return self._without_login(head)
        scheme, _, value = authorization.partition(" ")
        steps = _STEPS.get(scheme.lower())
        if steps is None:
            raise _unauthorized("The scheme of the Authorization field is not known here.")
        account = await self._log_in(head, scheme.upper(), steps(value.strip()))
        return self.known(account, head)

    def known(self, account: Address, head: HTTPHead) -> Visitor:
        """The visitor who has logged in to an account."""
        administrators = {each.key for each in self._section().administrators}
        return Visitor(
            account=account,
            is_administrator=account.key in administrators,
            client=head.client,
            session=head.session,
        )

    def _without_login(self, head: HTTPHead) -> Visitor | None:
        """With ``web.open``, programs on this machine. A proxy here would speak for others: it names the host
        that they have asked for."""
        here = not head.client or is_loopback(head.client)
        if not (self._section().open and here and is_loopback(head.host)):
            return None
        return Visitor(account=None, is_administrator=True, client=head.client, session=head.session)

    async def _log_in(self, head: HTTPHead, mechanism: str, steps: Generator[Any, Any, str]) -> Address:
        attempts = LoginAttempts(
            PROTOCOL,
            head.session,
            head.client,
            self._limits.client(head.client),
            self._authenticator,
            self._limits,
        )
        name, reason = "", Reason.CREDENTIALS
        try:
            try:
                question = next(steps)
                name = question.name
                answer = await attempts.answer(mechanism, question, self._wait)
                if isinstance(answer, Granted):
                    return self._logged_in(head, mechanism, Address.parse(answer.account))
                assert isinstance(answer, Denied)
                reason = answer.reason
            except LoginFailed as failure:
                name, reason = failure.name or name, failure.reason
            await attempts.rejected(mechanism, name, reason, self._wait)
        finally:
            attempts.finish()
        if reason is Reason.TEMPORARY:
            raise HTTPProblem(503, "Logins are not possible now.", {"Retry-After": "60"})
        raise _unauthorized("The name or the password is wrong.")

    def _logged_in(self, head: HTTPHead, mechanism: str, account: Address) -> Address:
        """Each request logs in; the log has one line for all of a connection."""
        known = head.session, account.key
        if not self._logged.has(known):
            self._logged.put(known, True)
            report(
                LoginSucceeded(
                    user=str(account), client=head.client, session=head.session, mechanism=mechanism
                )
            )
        return account

    def _wait(self, seconds: float) -> "Deferred[None]":
        return deferLater(self._reactor, seconds)


def _basic(value: str) -> Generator[Any, Any, str]:
    try:
        octets = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise LoginFailed(Reason.MALFORMED) from None
    name, colon, password = octets.partition(b":")
    if not colon:
        raise LoginFailed(Reason.MALFORMED)
    return (yield from check_password(to_name(name), password))


def _bearer(value: str) -> Generator[Any, Any, str]:
    granted: Granted = yield CheckToken(to_text(value.encode("latin-1"), MAX_TOKEN))
    return granted.account


_STEPS: dict[str, Callable[[str], Generator[Any, Any, str]]] = {"basic": _basic, "bearer": _bearer}


def _unauthorized(detail: str) -> HTTPProblem:
    return HTTPProblem(401, detail, {"WWW-Authenticate": CHALLENGES}, ends=True)


def nobody(head: HTTPHead) -> Visitor:
    """The visitor without a login."""
    return Visitor(account=None, is_administrator=False, client=head.client, session=head.session)


def needs_login() -> HTTPProblem:
    """The problem of a request without credentials."""
    return HTTPProblem(401, "This needs a login.", {"WWW-Authenticate": CHALLENGES})
