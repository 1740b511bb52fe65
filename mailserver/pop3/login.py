"""Logging in: USER and PASS, APOP (RFC 1939 section 7), AUTH (RFC 5034), all as SASL exchanges."""

from mailserver.pop3 import replies
from mailserver.pop3.events import MaildropWanted
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import Refused
from mailserver.sasl.apop import apop, password
from mailserver.sasl.exchange import Exchange, Finished, Outcome, Send
from mailserver.sasl.exchange import Refused as Over
from mailserver.sasl.login import Logins
from mailserver.sasl.mechanisms import MECHANISMS, Channel, Mechanism, available
from mailserver.sasl.steps import Reason
from mailserver.session.events import LoginAsked, LoginRefused

APOP = "APOP"

Step = bytes | LoginAsked | LoginRefused | MaildropWanted
"""A line to send, or an event."""


class Login(Logins[Step]):
    """Who one client is; ``channel`` is what is known of its TLS.

    ``timestamp`` is what APOP digests; the greeting has told it once, before and after TLS.
    """

    __slots__ = ("_failures", "_options", "name", "timestamp")

    def __init__(self, options: POP3Options, channel: Channel, timestamp: str) -> None:
        super().__init__(channel)
        self._options = options
        self._failures = 0
        self.name = ""
        self.timestamp = timestamp or (channel.unique() if APOP in options.mechanisms else "")

    @property
    def allowed(self) -> bool:
        """Whether passwords, and AUTH, may come over this connection."""
        return self.channel.secure or self._options.plaintext_auth

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Those for AUTH that can be used now."""
        return available(self._options.mechanisms if self.allowed else (), self.channel)

    def by_password(self, name: str, text: str) -> Step:
        """PASS."""
        return self.start(Mechanism("USER", lambda channel: password(name, text)), None, ())

    def by_digest(self, name: str, digest: str) -> Step:
        """APOP."""
        if not self.timestamp:
            raise Refused(replies.NO_APOP)
        return self.start(Mechanism(APOP, lambda channel: apop(self.timestamp, name, digest)), None, ())

    def by_mechanism(self, name: str, initial: bytes | None) -> Step:
        """AUTH. Raises :class:`~mailserver.pop3.replies.Refused`."""
        if not self.allowed:
            raise Refused(replies.NEEDS_TLS)
        if name not in self.mechanisms:
            raise Refused(replies.UNKNOWN_MECHANISM)
        return self.start(MECHANISMS[name], initial, self.mechanisms)

    def failed_too_often(self, reason: Reason) -> bool:
        """Count a failed login."""
        self._failures += reason.counts
        return reason.counts and self._failures == self._options.max_login_failures

    def step(self, exchange: Exchange, outcome: Outcome) -> Step:
        """See the base class."""
        match outcome:
            case Send(line):
                return b"+ " + line + b"\r\n"
            case Finished(account):
                self.name = exchange.name or account
                return MaildropWanted(account)
            case Over(reason):
                return LoginRefused(exchange.mechanism.name, exchange.name, reason)
            case question:
                return LoginAsked(exchange.mechanism.name, question)
