"""The server's side of a POP3 session (RFC 1939), without socket, clock or disk; see ``session.core``."""

from mailserver.pop3 import replies
from mailserver.pop3.commands import POP3Commands
from mailserver.pop3.login import POP3Login
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import ErrReply
from mailserver.pop3.states import POP3State
from mailserver.pop3.texts import ENGLISH
from mailserver.pop3.verbs import COMMAND_LINE, MAX_LINE, VERBS, ArgumentError, POP3Verb
from mailserver.sasl.mechanisms import Channel
from mailserver.session.verbs import Refused, Verb
from mailserver.wire.foreign import is_http
from mailserver.wire.lines import Line


class POP3Session(POP3Commands):
    """One client's session."""

    START = POP3State.AUTHORIZATION
    CLOSED = POP3State.CLOSED
    TOO_MANY_ERRORS = replies.TOO_MANY_ERRORS
    ERRORS_IN_A_ROW = True

    __slots__ = ("_revoked",)

    def __init__(self, options: POP3Options) -> None:
        self._options = options
        self._user = self._maildrop = self._encoder = self._cutter = self._surrogate = None
        self._language, self._utf8 = ENGLISH, False
        self._revoked = False
        super().__init__(POP3Login(options, Channel(options.hostname), ""), MAX_LINE, options.max_errors)

    def greet(self) -> None:
        """Queue the greeting."""
        self._output.add(replies.greeting(self._options.hostname, self._login.timestamp))

    def revoke(self) -> None:
        """The account of the client has been removed or disabled: end the session at its next command."""
        self._revoked = True

    def too_busy(self, text: str) -> bytes:
        """The last reply to a client that has exceeded a limit, which ``text`` describes in English."""
        return self._octets(replies.too_busy(text))

    @property
    def busy(self) -> bool:
        """True after the login."""
        return self.state in (POP3State.TRANSACTION, POP3State.UPDATE)

    def _begin(self, channel: Channel) -> POP3Login:
        self._user = None
        self._language, self._utf8 = ENGLISH, False
        # The timestamp of the greeting stays valid after STLS.
        return POP3Login(self._options, channel, self._login.timestamp)

    def _read(self, line: bytes | Line) -> tuple[Verb, bytes]:
        if self._revoked and self.state is POP3State.TRANSACTION:
            raise Refused(replies.ACCOUNT_GONE)
        if isinstance(line, Line):
            raise Refused(replies.LINE_TOO_LONG)
        name, _, raw = line.partition(b" ")
        verb = VERBS.get(name.upper())
        if verb is None and is_http(line):
            raise Refused(replies.HTTP)
        if len(line) + 2 > (verb.max_line if verb else COMMAND_LINE):
            raise Refused(replies.LINE_TOO_LONG)
        if verb is None:
            raise Refused(replies.UNKNOWN_COMMAND)
        if verb.alone is not None and not raw.strip(b" "):
            verb = verb.alone
        return verb, raw

    def _parse(self, verb: POP3Verb, raw: bytes) -> object:
        try:
            return verb.parse(raw)
        except ArgumentError:
            raise Refused(verb.malformed) from None

    def _octets(self, reply: ErrReply) -> bytes:  # type: ignore[override]
        return reply.said_in(self._language)

    def _close(self) -> None:
        super()._close()
        self._maildrop = self._encoder = self._cutter = self._surrogate = None
