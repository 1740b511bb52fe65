"""The text of a message: it removes dot-stuffing and finds the reasons to reject the message."""

from mailserver.mail.head import HeadScanner
from mailserver.smtp import replies
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import Reply
from mailserver.wire.dots import DotDecoder
from mailserver.wire.lines import LineMeter


class Text:
    """The text of one DATA command.

    ``refusal`` is the reply if the message must be rejected, None so far. At the end it does not depend on
    how the octets were cut. ``fail`` sets a reason from outside.
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
        """Add octets from the client. Returns the decoded octets of the message."""
        data = self._decoder.feed(data)
        self._size += len(data)
        self._head.feed(data)
        if self._options.max_line_length:
            self._meter.feed(data)
        return data

    @property
    def ended(self) -> bool:
        """True after the end of the text. ``rest`` has the octets after it."""
        return self._decoder.ended

    @property
    def rest(self) -> bytes:
        """The octets after the end."""
        return self._decoder.rest

    def fail(self, reason: Reply) -> None:
        """Reject the message for a reason outside its text."""
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
