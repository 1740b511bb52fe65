"""Logging in: USER and PASS, APOP (RFC 1939 section 7), AUTH (RFC 5034), all as SASL exchanges."""

from typing import Any

import attrs

from mailserver.pop3 import replies
from mailserver.pop3.events import LoginAsked, LoginRefused, MaildropWanted
from mailserver.pop3.replies import Refused
from mailserver.pop3.settings import Settings
from mailserver.sasl.apop import apop, password
from mailserver.sasl.exchange import Exchange, Finished, Outcome, Send
from mailserver.sasl.exchange import Refused as Over
from mailserver.sasl.mechanisms import MECHANISMS, Channel, Mechanism, available
from mailserver.sasl.steps import Reason
from mailserver.wire.lines import Line

APOP = "APOP"

Step = bytes | LoginAsked | LoginRefused | MaildropWanted
"""A line to send, or an event."""


class Login:
    """Who one client is; ``channel`` is what is known of its TLS.

    ``timestamp`` is what APOP digests; the greeting has told it once, before and after TLS.
    """

    __slots__ = ("_exchange", "_failures", "_settings", "channel", "name", "timestamp")

    def __init__(self, settings: Settings, channel: Channel, timestamp: str) -> None:
        self._settings = settings
        self._exchange: Exchange | None = None
        self._failures = 0
        self.channel = channel
        self.name = ""
        self.timestamp = timestamp or (channel.unique() if APOP in settings.mechanisms else "")

    @property
    def under_way(self) -> bool:
        """True while lines of the client are responses and no commands."""
        return self._exchange is not None

    @property
    def allowed(self) -> bool:
        """Whether passwords, and AUTH, may come over this connection."""
        return self.channel.secure or self._settings.plaintext_auth

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Those for AUTH that can be used now."""
        return available(self._settings.mechanisms if self.allowed else (), self.channel)

    def by_password(self, name: str, text: str) -> Step:
        """PASS."""
        return self._begin(Mechanism("USER", lambda channel: password(name, text)), None)

    def by_digest(self, name: str, digest: str) -> Step:
        """APOP."""
        if not self.timestamp:
            raise Refused(replies.NO_APOP)
        return self._begin(Mechanism(APOP, lambda channel: apop(self.timestamp, name, digest)), None)

    def by_mechanism(self, name: str, initial: bytes | None) -> Step:
        """AUTH. Raises :class:`~mailserver.pop3.replies.Refused`."""
        if not self.allowed:
            raise Refused(replies.NEEDS_TLS)
        if name not in self.mechanisms:
            raise Refused(replies.UNKNOWN_MECHANISM)
        return self._begin(MECHANISMS[name], initial)

    def line(self, line: bytes | Line) -> Step:
        """A response of the client."""
        assert self._exchange is not None
        return self._step(Over(Reason.TOO_LONG) if isinstance(line, Line) else self._exchange.line(line))

    def answer(self, answer: Any) -> Step:
        """The answer to the question of :class:`LoginAsked`."""
        assert self._exchange is not None
        return self._step(self._exchange.answer(answer))

    def failed_too_often(self, reason: Reason) -> bool:
        """Count a failure; the server's own troubles are not counted."""
        self._failures += reason is Reason.CREDENTIALS
        return reason is Reason.CREDENTIALS and self._failures == self._settings.max_login_failures

    def _begin(self, mechanism: Mechanism, initial: bytes | None) -> Step:
        channel = attrs.evolve(self.channel, offered=frozenset(self.mechanisms))
        self._exchange = Exchange(mechanism, channel)
        return self._step(self._exchange.begin(initial))

    def _step(self, outcome: Outcome) -> Step:
        exchange = self._exchange
        assert exchange is not None
        match outcome:
            case Send(line):
                return b"+ " + line + b"\r\n"
            case Finished(account):
                self._exchange, self.name = None, exchange.name or account
                return MaildropWanted(account)
            case Over(reason):
                self._exchange = None
                return LoginRefused(exchange.mechanism.name, exchange.name, reason)
            case question:
                return LoginAsked(exchange.mechanism.name, question)
