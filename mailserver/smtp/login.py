"""AUTH (RFC 4954): from the steps of a SASL exchange to replies, and who has logged in by it."""

from mailserver.sasl.exchange import Exchange, Finished, Outcome, Send
from mailserver.sasl.exchange import Refused as Over
from mailserver.sasl.login import Logins
from mailserver.sasl.mechanisms import MECHANISMS, Channel, available
from mailserver.sasl.steps import Reason
from mailserver.session.events import LoginAsked, LoginRefused
from mailserver.smtp import replies
from mailserver.smtp.options import Offer, SMTPOptions
from mailserver.smtp.replies import Refused, Reply, reply
from mailserver.wire.lines import Line

REFUSED: dict[Reason, Reply] = {
    Reason.CREDENTIALS: reply(535, "5.7.8", "the name and the password do not fit"),
    Reason.MALFORMED: reply(501, "5.5.2", "that is no valid response; the login is over"),
    Reason.TOO_LONG: reply(500, "5.5.6", "the response is too long; the login is over"),
    Reason.CANCELLED: reply(501, "5.7.0", "the login is cancelled"),
    Reason.TEMPORARY: reply(454, "4.7.0", "nobody can log in for now; please try again later"),
}

# A line that is no response.
NO_RESPONSE = {Line.TOO_LONG: Reason.TOO_LONG, Line.BARE_NEWLINE: Reason.MALFORMED}

# Why not, for those that people look for (docs/security.md has more).
NEVER = {
    "DIGEST-MD5": "DIGEST-MD5 is obsolete (RFC 6331); use SCRAM-SHA-256",
    "NTLM": "NTLM is proprietary, and weak; use SCRAM-SHA-256 or PLAIN",
    "GSSAPI": "GSSAPI needs a Kerberos realm, and is not served; use SCRAM-SHA-256 or PLAIN",
}

Step = bytes | Reply | LoginAsked | LoginRefused
"""A whole line to send, a reply, or an event to be answered by :meth:`Login.answer`."""


class Login(Logins[Step]):
    """Who one client is: ``user`` is the account that has logged in, "" before; ``channel`` its TLS."""

    __slots__ = ("_failures", "_options", "user")

    def __init__(self, options: SMTPOptions, channel: Channel) -> None:
        super().__init__(channel)
        self._options = options
        self._failures = 0
        self.user = ""

    @property
    def offer(self) -> Offer:
        """What the client may use now."""
        options, secure = self._options, self.channel.secure
        names = options.mechanisms if (secure or options.plaintext_auth) and not self.user else ()
        tells = options.verify == "always" or (options.verify == "authenticated" and bool(self.user))
        return Offer(options.starttls and not secure, available(names, self.channel), tells)

    def begin(self, name: str, initial: bytes | None) -> Step:
        """AUTH. Raises :class:`~mailserver.smtp.replies.Refused`."""
        if self.user:
            raise Refused(replies.LOGGED_IN_ALREADY)
        if not self._options.mechanisms:
            raise Refused(replies.NO_AUTH)
        if not (self.channel.secure or self._options.plaintext_auth):
            raise Refused(replies.NEEDS_TLS)
        offered = self.offer.mechanisms
        if name not in offered:
            text = NEVER.get(name, "that mechanism is not offered here; EHLO lists those that are")
            raise Refused(reply(504, "5.5.4", text))
        if initial is not None and not MECHANISMS[name].client_first:
            raise Refused(replies.SERVER_FIRST)
        return self.start(MECHANISMS[name], initial, offered)

    def refusal(self, reason: Reason) -> Reply:
        """What the client is told; by 421 it is sent away."""
        self._failures += reason.counts
        if reason.counts and self._failures == self._options.max_login_failures:
            return replies.TOO_MANY_LOGINS
        return REFUSED[reason]

    def step(self, exchange: Exchange, outcome: Outcome) -> Step:
        """See the base class."""
        match outcome:
            case Send(line):
                return b"334 " + line + b"\r\n"
            case Finished(account):
                self.user = account
                return replies.LOGIN_OK
            case Over(reason):
                return LoginRefused(exchange.mechanism.name, exchange.name, reason)
            case question:
                return LoginAsked(exchange.mechanism.name, question)
