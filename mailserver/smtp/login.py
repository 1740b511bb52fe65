"""AUTH (RFC 4954): the usable mechanisms, the account of the session, and the replies to failed logins."""

from mailserver.sasl.mechanisms import MECHANISMS, Channel
from mailserver.sasl.steps import Reason
from mailserver.session.login import LoginStep, SASLLogin
from mailserver.session.verbs import Refused
from mailserver.smtp import replies
from mailserver.smtp.options import Offer, SMTPOptions
from mailserver.smtp.replies import Reply, reply

REFUSED: dict[Reason, Reply] = {
    Reason.CREDENTIALS: reply(535, "5.7.8", "wrong user name or password"),
    Reason.MALFORMED: reply(501, "5.5.2", "invalid response; authentication failed"),
    Reason.TOO_LONG: reply(500, "5.5.6", "response too long; authentication failed"),
    Reason.CANCELLED: reply(501, "5.7.0", "authentication cancelled"),
    Reason.TEMPORARY: reply(
        454, "4.7.0", "authentication is temporarily unavailable; please try again later"
    ),
}

# Mechanisms that people ask for, with the reason why they are missing (more in docs/security.md).
NEVER = {
    "DIGEST-MD5": "DIGEST-MD5 is obsolete (RFC 6331); use SCRAM-SHA-256",
    "NTLM": "NTLM is proprietary and weak; use SCRAM-SHA-256 or PLAIN",
    "GSSAPI": "GSSAPI needs a Kerberos realm and is not supported; use SCRAM-SHA-256 or PLAIN",
}


class SMTPLogin(SASLLogin[SMTPOptions]):
    """``user`` is the account that has logged in, "" before."""

    prompt = b"334 "

    __slots__ = ("user",)

    def __init__(self, options: SMTPOptions, channel: Channel) -> None:
        super().__init__(options, channel)
        self.user = ""

    @property
    def offer(self) -> Offer:
        """The commands and mechanisms that the client can use now."""
        options, secure = self._options, self.channel.secure
        lookups = options.verify == "always" or (options.verify == "authenticated" and bool(self.user))
        return Offer(
            options.starttls and not secure,
            () if self.user else self.mechanisms,
            lookups,
            options.queue_starts,
            options.fetches,
            secure,
            options.submission or (bool(self.user) and not options.lmtp),
            bool(options.no_soliciting),
            options.xclient,
            options.xforward,
        )

    def begin(self, name: str, initial: bytes | None) -> LoginStep:
        """AUTH. Raises :class:`~mailserver.session.verbs.Refused`."""
        if self.user:
            raise Refused(replies.LOGGED_IN_ALREADY)
        if not self._options.mechanisms:
            raise Refused(replies.NO_AUTH)
        if not self.allowed:
            raise Refused(replies.NEEDS_TLS)
        offered = self.offer.mechanisms
        if name not in offered:
            text = NEVER.get(name, "mechanism not supported; EHLO lists the supported ones")
            raise Refused(reply(504, "5.5.4", text))
        if initial is not None and not MECHANISMS[name].client_first:
            raise Refused(replies.SERVER_FIRST)
        return self.start(MECHANISMS[name], initial, offered)

    def refusal(self, reason: Reason) -> Reply:
        """The reply to a failed login. A 421 ends the session."""
        return replies.TOO_MANY_LOGINS if self.failed_too_often(reason) else REFUSED[reason]

    def finished(self, name: str, account: str) -> None:
        """See the base class."""
        self.user = account
