"""Logins by USER and PASS, APOP (RFC 1939 section 7) and AUTH (RFC 5034), all as SASL exchanges."""

import attrs

from mailserver.pop3 import replies
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import ErrReply
from mailserver.sasl.apop import apop, password
from mailserver.sasl.mechanisms import MECHANISMS, Channel, Mechanism
from mailserver.sasl.steps import Reason
from mailserver.session.login import LoginStep, SASLLogin
from mailserver.session.verbs import Refused

APOP = "APOP"


class POP3Login(SASLLogin[POP3Options]):
    """The logins of one session. ``name`` is the user name that the client has given, ``account`` that of the
    account; both are "" before the login.

    ``timestamp`` is the timestamp of APOP. It is in the greeting, and stays the same after STLS.
    """

    prompt = b"+ "

    __slots__ = ("account", "name", "timestamp")

    def __init__(self, options: POP3Options, channel: Channel, timestamp: str) -> None:
        super().__init__(options, channel)
        self.name = self.account = ""
        self.timestamp = timestamp or (channel.unique() if APOP in options.mechanisms else "")

    def by_password(self, name: str, text: str) -> LoginStep:
        """PASS."""
        return self.start(Mechanism("USER", lambda channel: password(name, text)), None, ())

    def by_digest(self, name: str, digest: str) -> LoginStep:
        """APOP."""
        if not self.timestamp:
            raise Refused(replies.NO_APOP)
        return self.start(Mechanism(APOP, lambda channel: apop(self.timestamp, name, digest)), None, ())

    def by_mechanism(self, name: str, initial: bytes | None) -> LoginStep:
        """AUTH. Raises :class:`~mailserver.session.verbs.Refused`."""
        if not self.allowed:
            raise Refused(replies.NEEDS_TLS)
        if name not in self.mechanisms:
            raise Refused(replies.UNKNOWN_MECHANISM)
        return self.start(MECHANISMS[name], initial, self.mechanisms)

    def refusal(self, reason: Reason) -> ErrReply:
        """The reply to a failed login. Too many failed logins end the session."""
        reply = replies.LOGIN_FAILED[reason]
        if not self.failed_too_often(reason):
            return reply
        rule = "limits.auth_failures"
        return attrs.evolve(reply, logged="too many failed logins", rule=rule, wrong=False, last=True)

    def finished(self, name: str, account: str) -> None:
        """See the base class."""
        self.name = name or account
        self.account = account
