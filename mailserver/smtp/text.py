"""A message on its way in: transparency taken off, and what would keep it from being taken."""

from mailserver.mail.head import HeadScanner
from mailserver.smtp import replies
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import Reply
from mailserver.wire.dots import DotDecoder
from mailserver.wire.lines import LineMeter


class Text:
    """The text of one DATA command.

    ``refusal`` is why it cannot be taken, as far as that is known; at the end of the text it is the
    same however the octets came. ``fail`` gives it a reason from outside.
    """

    __slots__ = ("_decoder", "_failure", "_head", "_meter", "_options", "_size", "aborted")

    def __init__(self, options: SMTPOptions) -> None:
        self._options = options
        self._decoder = DotDecoder(normalize=options.bare_newline == "normalize")
        self._head = HeadScanner()
        self._meter = LineMeter()
        self._size = 0
        self._failure: Reply | None = None
        self.aborted = False

    def feed(self, data: bytes) -> bytes:
        """Take in what came from the client; return the octets of the message that are certain."""
        data = self._decoder.feed(data)
        self._size += len(data)
        self._head.feed(data)
        if self._options.max_line_length:
            self._meter.feed(data)
        return data

    @property
    def ended(self) -> bool:
        """True once the end of the text has come; ``rest`` is what followed it."""
        return self._decoder.ended

    @property
    def rest(self) -> bytes:
        """What followed the end."""
        return self._decoder.rest

    def fail(self, reason: Reply) -> None:
        """Let the text be refused for a reason that has nothing to do with it."""
        self._failure = reason

    @property
    def refusal(self) -> Reply | None:
        """See the class."""
        options = self._options
        if self._failure is not None:
            return self._failure
        if self._decoder.bare_newline and options.bare_newline == "reject":
            return replies.BARE_NEWLINE
        if self._size > options.max_message_size:
            return replies.too_big(options.max_message_size)
        if 0 < options.max_line_length < self._meter.longest:
            return replies.line_too_long(options.max_line_length)
        if self._head.received >= options.hop_limit:
            return replies.LOOP
        return None
