"""The handlers of the POP3 commands. The verb table names them. They never change the state.

Messages are only marked here. They are removed elsewhere, at the request
:class:`~mailserver.pop3.events.UpdateWanted`. A session that ends in any other way removes nothing.
"""

from mailserver.mail.snapshot import Snapshot
from mailserver.pop3 import events, replies
from mailserver.pop3.capabilities import capability_lines
from mailserver.pop3.events import OpenFailure, ReadFailure
from mailserver.pop3.login import POP3Login
from mailserver.pop3.maildrop import Maildrop
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import ErrReply
from mailserver.pop3.states import POP3State
from mailserver.pop3.text import TopCutter
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import Reason
from mailserver.session.core import LineSession
from mailserver.session.events import LoginAsked, LoginRefused, TLSWanted
from mailserver.session.verbs import Refused, Step
from mailserver.wire.dots import DotEncoder


class POP3Commands(LineSession):
    """The handlers, and the state that they share."""

    __slots__ = ("_cutter", "_encoder", "_maildrop", "_options", "_user")

    _options: POP3Options
    _login: POP3Login
    _maildrop: Maildrop | None
    _encoder: DotEncoder | None
    _cutter: TopCutter | None
    _user: str | None
    state: POP3State

    # ------------------------------------------------------------ before the login

    def stls(self, argument: None) -> Step:
        if self._login.channel.secure:
            raise Refused(replies.TLS_ALREADY)
        if not self._options.starttls:
            raise Refused(replies.NO_TLS)
        self._output.add(replies.START_TLS)
        # An attacker may have added octets behind the command (CVE-2011-0411).
        return TLSWanted(len(self._input.take_all()))

    def tls_begun(self, wanted: TLSWanted, channel: Channel) -> Step:
        self.secured(channel)
        return b""

    def user(self, name: str) -> Step:
        # A rejection at USER keeps the password off the network.
        if not self._login.allowed:
            raise Refused(replies.NEEDS_TLS)
        self._user = name
        return replies.SEND_PASSWORD

    def password(self, password: str) -> Step:
        if self._user is None:
            raise Refused(replies.USER_FIRST)
        name, self._user = self._user, None
        return self._log_in(self._login.by_password(name, password))

    def apop(self, argument: tuple[str, str]) -> Step:
        return self._log_in(self._login.by_digest(*argument))

    def list_mechanisms(self, argument: None) -> Step:
        lines = "".join([f"{name}\r\n" for name in self._login.mechanisms])
        return replies.multi_line("mechanism list follows", lines.encode())

    def auth(self, argument: tuple[str, bytes | None]) -> Step:
        return self._log_in(self._login.by_mechanism(*argument))

    def _login_refusal(self, reason: Reason) -> ErrReply:
        return self._login.refusal(reason)

    def _logged_in(self, account: str) -> Step:
        return events.MaildropWanted(account)

    def login_answered(
        self, request: LoginAsked | LoginRefused | events.MaildropWanted, answer: object
    ) -> Step:
        if not isinstance(request, events.MaildropWanted):
            return self._login_answered(request, answer)
        if isinstance(answer, OpenFailure):
            raise Refused(replies.NOT_OPENED[answer])
        assert isinstance(answer, Snapshot)
        self._maildrop = Maildrop(answer)
        return replies.welcome(self._login.name, self._maildrop.count, self._maildrop.octets)

    # ------------------------------------------------------------ the maildrop

    @property
    def _drop(self) -> Maildrop:
        """The maildrop. The verb table allows its commands only when there is one."""
        assert self._maildrop is not None
        return self._maildrop

    def stat(self, argument: None) -> Step:
        return replies.ok(f"{self._drop.count} {self._drop.octets}")

    def list(self, number: int | None) -> Step:
        if number is not None:
            return replies.ok(f"{number} {self._drop.size(number)}")
        self._output.add(replies.ok(replies.total(self._drop.count, self._drop.octets)))
        return self._drop.sizes()

    def uidl(self, number: int | None) -> Step:
        if number is not None:
            return replies.ok(f"{number} {self._drop.uid(number)}")
        self._output.add(replies.ok("unique-id listing follows"))
        return self._drop.uids()

    def dele(self, number: int) -> Step:
        self._drop.mark(number)
        return replies.ok(f"message {number} deleted")

    def last(self, argument: None) -> Step:
        return replies.ok(str(self._drop.last))

    def noop(self, argument: None) -> Step:
        return replies.ok()

    def rset(self, argument: None) -> Step:
        self._drop.reset()
        return replies.ok(f"maildrop has {replies.total(self._drop.count, self._drop.octets)}")

    def capa(self, argument: None) -> Step:
        lines = capability_lines(self._options, self._login, self.state)
        return replies.multi_line("capability list follows", lines)

    def quit(self, argument: None) -> Step:
        return replies.farewell(self._options.hostname) if self._maildrop is None else b""

    def update(self) -> Step:
        return events.UpdateWanted(self._drop.marked)

    def updated(self, wanted: events.UpdateWanted, failed: frozenset[int]) -> Step:
        remaining = [index + 1 for index in wanted.marked if index in failed]
        if remaining:
            return replies.not_removed(remaining)
        return replies.farewell(self._options.hostname, self._drop.count)

    # ------------------------------------------------------------ messages

    def retr(self, number: int) -> Step:
        return events.MessageWanted(self._drop.index(number), None)

    def top(self, argument: tuple[int, int]) -> Step:
        number, lines = argument
        index = self._drop.index(number)
        self._cutter = TopCutter(lines)
        return events.MessageWanted(index, lines)

    @property
    def wants_text(self) -> bool:
        """True while a message is requested and the session needs more of it."""
        return isinstance(self.awaited, events.MessageWanted) and not (self._cutter and self._cutter.done)

    def send_text(self, data: bytes) -> None:
        """Queue the next octets of the requested message, cut anywhere, not byte-stuffed."""
        if self.closed:
            return
        wanted = self.awaited
        if not isinstance(wanted, events.MessageWanted):
            raise RuntimeError("no message is requested")
        if self._encoder is None:
            self._encoder = DotEncoder()
            # RETR counts as access to the message, TOP does not (RFC 1460).
            about = "top of message follows"
            if wanted.lines is None:
                about = f"{self._drop.retrieved(wanted.index)} octets"
            self._output.add(replies.ok(about))
        self._output.add(self._encoder.feed(self._cutter.feed(data) if self._cutter else data))

    def message_read(self, wanted: events.MessageWanted, answer: bytes | ReadFailure) -> Step:
        if isinstance(answer, bytes):
            self.send_text(answer)
        encoder, self._encoder, self._cutter = self._encoder, None, None
        if isinstance(answer, ReadFailure):
            # A truncated message gets no final dot, so that the client does not take it as complete.
            broken_off = encoder is not None
            raise Refused(replies.BROKEN_OFF if broken_off else replies.unreadable(wanted.index + 1, answer))
        assert encoder is not None
        return encoder.finish()
