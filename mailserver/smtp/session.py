"""The receiver's side of a session of SMTP (RFC 5321) or LMTP (RFC 2033), without socket, clock or disk.

See ``session.core``.
"""

from mailserver.sasl.mechanisms import Channel
from mailserver.session.verbs import Refused, Step, Verb
from mailserver.smtp import replies
from mailserver.smtp.chunks import ChunkCommand, unreadable
from mailserver.smtp.commands import SMTPCommands
from mailserver.smtp.events import NO_ATTRIBUTES
from mailserver.smtp.login import SMTPLogin
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.states import SMTPState
from mailserver.smtp.syntax import decode
from mailserver.smtp.tables import help_lines, read_command, table
from mailserver.smtp.verbs import MAX_LINE, REJECTED_CHUNK, SMTPVerb
from mailserver.wire.lines import Line

_IN_TRANSACTION = (SMTPState.SENDER, SMTPState.RECIPIENTS, SMTPState.CHUNKS, SMTPState.TEXT)


class SMTPSession(SMTPCommands):
    """One client's session."""

    START = SMTPState.CONNECTED
    CLOSED = SMTPState.CLOSED
    TOO_MANY_ERRORS = replies.TOO_MANY_ERRORS
    PADDING = b"\r"  # CR CR LF also ends a line, unless bare newlines are rejected

    __slots__ = ("_table", "_unnamed")

    def __init__(self, options: SMTPOptions) -> None:
        self._options = options
        self._named, self._named_at = NO_ATTRIBUTES, 0
        strict = options.bare_newline == "reject"
        super().__init__(self._begin(Channel(options.hostname)), MAX_LINE, options.max_errors, strict=strict)

    def greet(self) -> None:
        """Queue the greeting."""
        protocol = "LMTP" if self._options.lmtp else "ESMTP"
        self._output.add(replies.greeting(self._options.hostname, protocol).octets)

    def take_rest(self) -> bytes:
        """The input that belongs to the session after :class:`~mailserver.smtp.events.RolesReversed`."""
        return self._input.take_all()

    @property
    def busy(self) -> bool:
        """True from MAIL to the reply that ends the transaction."""
        return self.state in _IN_TRANSACTION or self.awaited is not None

    def _begin(self, channel: Channel) -> SMTPLogin:
        self._unnamed = False
        self._table = table(self._options.lmtp, self._options.needs_login, False)
        return super()._begin(channel)

    def _logged_in(self, account: str) -> Step:
        self._table = table(self._options.lmtp, False, self._unnamed)
        return super()._logged_in(account)

    def help_lines(self, topic: str) -> tuple[str, ...] | None:
        """See the base class."""
        return help_lines(topic, self._options.lmtp)

    def _read(self, line: bytes | Line) -> tuple[Verb, bytes]:
        if isinstance(line, Line):
            raise Refused(unreadable(line, self._input.beginning))
        verb, raw = read_command(line.rstrip(self.PADDING), self._table)
        if verb.last is not None:
            chunk = ChunkCommand.read(raw)
            self._chunk, self._is_correct = chunk.size, chunk.is_correct
            return verb.last if chunk.is_last else verb, b""
        return verb, raw

    def _parse(self, verb: SMTPVerb, raw: bytes) -> object:
        if verb.names_client and not self._options.strict_syntax:
            # A client may send mail even if its name is rejected (RFC 5321 section 4.1.4).
            self._unnamed = True
            options = self._options
            self._table = table(options.lmtp, options.needs_login and not self.user, True)
        argument = decode(raw, self._options, any_charset=verb.names_client)
        return verb.parse(argument, self._options)

    def _refuse(self, refused: Refused) -> None:
        if self._chunk and not refused.reply.last:
            self._rejection, self._verb = self._octets(refused.reply), REJECTED_CHUNK
        else:
            super()._refuse(refused)

    def _close(self) -> None:
        super()._close()
        self._forget()
