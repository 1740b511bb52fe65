"""The handlers of the POP3 commands. The verb table names them. They never change the state.

Messages are only marked here. They are removed elsewhere, at the request
:class:`~mailserver.pop3.events.UpdateWanted`. A session that ends in any other way removes nothing.
"""

from mailserver.mail.snapshot import Snapshot
from mailserver.mail.surrogate import Surrogate
from mailserver.pop3 import events, replies, texts
from mailserver.pop3.capabilities import capability_lines
from mailserver.pop3.events import OpenFailure, ReadFailure
from mailserver.pop3.login import POP3Login
from mailserver.pop3.maildrop import Maildrop
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import ErrReply
from mailserver.pop3.states import POP3State
from mailserver.pop3.text import TopCutter
from mailserver.pop3.texts import LANGUAGES, Language, ReplyText, counted, look_up
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import Reason
from mailserver.session.core import LineSession
from mailserver.session.events import LoginAsked, LoginRefused, TLSWanted
from mailserver.session.verbs import Refused, Step
from mailserver.wire.dots import DotEncoder


class POP3Commands(LineSession):
    """The handlers, and the state that they share."""

    __slots__ = ("_cutter", "_encoder", "_language", "_maildrop", "_options", "_surrogate", "_user", "_utf8")

    _options: POP3Options
    _login: POP3Login
    _maildrop: Maildrop | None
    _encoder: DotEncoder | None
    _cutter: TopCutter | None
    _surrogate: Surrogate | None
    _user: str | None
    _language: Language
    _utf8: bool
    state: POP3State

    # ------------------------------------------------------------ before the login

    def stls(self, argument: None) -> Step:
        if self._login.channel.secure:
            raise Refused(replies.TLS_ALREADY)
        if not self._options.starttls:
            raise Refused(replies.NO_TLS)
        if self._utf8:
            raise Refused(replies.STLS_AFTER_UTF8)
        self._output.add(self._ok(texts.BEGIN_TLS))
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
        return self._ok(texts.SEND_PASSWORD)

    def password(self, password: str) -> Step:
        if self._user is None:
            raise Refused(replies.USER_FIRST)
        name, self._user = self._user, None
        return self._log_in(self._login.by_password(name, password))

    def apop(self, argument: tuple[str, str]) -> Step:
        return self._log_in(self._login.by_digest(*argument))

    def list_mechanisms(self, argument: None) -> Step:
        lines = "".join([f"{name}\r\n" for name in self._login.mechanisms])
        return replies.multi_line(self._ok(texts.MECHANISMS), lines.encode())

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
        retention = self._options.retention(self._login.account)
        self._maildrop = Maildrop(answer, utf8=self._utf8, keeps=retention.days != 0)
        return replies.welcome(self._language, self._login.name, self._maildrop.count, self._maildrop.octets)

    # ------------------------------------------------------------ UTF-8 and languages (RFC 6856)

    def utf8(self, argument: None) -> Step:
        self._utf8 = True
        if self._maildrop is not None:
            self._maildrop.show_utf8()
        return self._ok(texts.UTF8_MODE)

    def lang(self, language_range: str) -> Step:
        found = look_up(language_range, self._options.language)
        if found is None:
            raise Refused(replies.UNKNOWN_LANGUAGE)
        self._language = found
        return self._ok(texts.LANGUAGE_CHANGED, found.tag)

    def list_languages(self, argument: None) -> Step:
        lines = "".join([f"{language.tag} {language.name}\r\n" for language in LANGUAGES])
        return replies.multi_line(self._ok(texts.LANGUAGE_LIST), lines.encode())

    # ------------------------------------------------------------ the maildrop

    @property
    def _drop(self) -> Maildrop:
        """The maildrop. The verb table allows its commands only when there is one."""
        assert self._maildrop is not None
        return self._maildrop

    def _ok(self, text: ReplyText, *values: object) -> bytes:
        return replies.ok(self._language, text, *values)

    def stat(self, argument: None) -> Step:
        return replies.data(f"{self._drop.count} {self._drop.octets}")

    def list(self, number: int | None) -> Step:
        if number is not None:
            return replies.data(f"{number} {self._drop.size(number)}")
        self._output.add(self._ok(texts.TOTAL, counted(self._language, self._drop.count), self._drop.octets))
        return self._drop.sizes()

    def uidl(self, number: int | None) -> Step:
        if number is not None:
            return replies.data(f"{number} {self._drop.uid(number)}")
        self._output.add(self._ok(texts.UNIQUE_IDS))
        return self._drop.uids()

    def dele(self, number: int) -> Step:
        self._drop.mark(number)
        return self._ok(texts.DELETED, number)

    def last(self, argument: None) -> Step:
        return replies.data(self._drop.last)

    def noop(self, argument: None) -> Step:
        return replies.data()

    def rset(self, argument: None) -> Step:
        self._drop.reset()
        return self._ok(texts.WELCOME, counted(self._language, self._drop.count), self._drop.octets)

    def capa(self, argument: None) -> Step:
        lines = capability_lines(self._options, self._login, self.state)
        return replies.multi_line(self._ok(texts.CAPABILITIES), lines)

    def quit(self, argument: None) -> Step:
        if self._maildrop is not None:
            return b""
        return replies.farewell(self._language, self._options.hostname)

    def update(self) -> Step:
        self._drop.mark_retrieved()
        return events.UpdateWanted(self._drop.marked)

    def updated(self, wanted: events.UpdateWanted, failed: frozenset[int]) -> Step:
        remaining = [index + 1 for index in wanted.marked if index in failed]
        if remaining:
            return self._octets(replies.not_removed(remaining))
        return replies.farewell(self._language, self._options.hostname, self._drop.count)

    # ------------------------------------------------------------ messages

    def retr(self, number: int) -> Step:
        return events.MessageWanted(self._index(number), None)

    def top(self, argument: tuple[int, int]) -> Step:
        number, lines = argument
        index = self._index(number)
        self._cutter = TopCutter(lines)
        return events.MessageWanted(index, lines)

    def _index(self, number: int) -> int:
        """The index of a message that the client gets now, in the form that it can read."""
        index = self._drop.index(number)
        self._surrogate = Surrogate() if index in self._drop.surrogates else None
        return index

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
            if wanted.lines is None:
                self._output.add(self._ok(texts.OCTETS, self._drop.retrieved(wanted.index)))
            else:
                self._output.add(self._ok(texts.TOP))
        if self._surrogate is not None:
            data = self._surrogate.feed(data)
        self._output.add(self._encoder.feed(self._cutter.feed(data) if self._cutter else data))

    def message_read(self, wanted: events.MessageWanted, answer: bytes | ReadFailure) -> Step:
        if isinstance(answer, bytes):
            self.send_text(answer)
            if self._surrogate is not None:
                surrogate, self._surrogate = self._surrogate, None
                self.send_text(surrogate.finish())
        encoder, self._encoder, self._cutter = self._encoder, None, None
        if isinstance(answer, ReadFailure):
            # A truncated message gets no final dot, so that the client does not take it as complete.
            broken_off = encoder is not None
            raise Refused(replies.BROKEN_OFF if broken_off else replies.unreadable(wanted.index + 1, answer))
        assert encoder is not None
        return encoder.finish()
