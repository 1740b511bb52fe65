"""The text of a message: it finds the reasons to reject the message while it arrives."""

from typing import Protocol

from mailserver.mail.head import HeadScanner
from mailserver.smtp import replies
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import Reply
from mailserver.wire.chunks import BinaryOctets, ChunkedOctets
from mailserver.wire.dots import DotDecoder
from mailserver.wire.lines import LineMeter


class _Octets(Protocol):
    """Decodes the octets from the client. ``bare_newline``: they have a bare CR or LF."""

    bare_newline: bool

    def feed(self, data: bytes) -> bytes: ...


class Text:
    """Base class: the text of one message.

    ``refusal`` is the reply if the message must be rejected, None so far. At the end of a command it does not
    depend on how the octets were cut. ``fail`` sets a reason from outside.
    """

    __slots__ = ("_failure", "_head", "_may_be_bare", "_meter", "_octets", "_options", "_size", "aborted")

    def __init__(self, options: SMTPOptions, octets: _Octets, *, may_be_bare: bool) -> None:
        self._options = options
        self._octets = octets
        self._may_be_bare = may_be_bare
        self._head = HeadScanner()
        self._meter = LineMeter()
        self._size = 0
        self._failure: Reply | None = None
        self.aborted = False

    def feed(self, data: bytes) -> bytes:
        """Add octets from the client. Returns the decoded octets of the message."""
        return self._scanned(self._octets.feed(data))

    def _scanned(self, data: bytes) -> bytes:
        self._size += len(data)
        self._head.feed(data)
        if self._options.max_line_length:
            self._meter.feed(data)
        return data

    def fail(self, reason: Reply) -> None:
        """Reject the message for a reason outside its text."""
        self._failure = reason

    @property
    def refusal(self) -> Reply | None:
        """See the class."""
        options = self._options
        if self._failure is not None:
            return self._failure
        if self._octets.bare_newline and not self._may_be_bare:
            return replies.BARE_NEWLINE
        if self._size > options.max_message_size:
            return replies.too_big(options.max_message_size)
        if 0 < options.max_line_length < self._meter.longest:
            return replies.line_too_long(options.max_line_length)
        if self._head.received >= options.hop_limit:
            return replies.LOOP
        return None


class DottedText(Text):
    """The text after DATA, from which dot-stuffing is removed."""

    __slots__ = ()

    _octets: DotDecoder

    def __init__(self, options: SMTPOptions) -> None:
        normalize = options.bare_newline == "normalize"
        super().__init__(options, DotDecoder(normalize=normalize), may_be_bare=normalize)

    @property
    def ended(self) -> bool:
        """True after the end of the text. ``rest`` has the octets after it."""
        return self._octets.ended

    @property
    def rest(self) -> bytes:
        """The octets after the end."""
        return self._octets.rest


class ChunkedText(Text):
    """The text in BDAT commands. ``binary``: its body may have bare newlines (BODY=BINARYMIME)."""

    __slots__ = ("_announced",)

    _octets: ChunkedOctets | BinaryOctets

    def __init__(self, options: SMTPOptions, *, binary: bool) -> None:
        normalize = options.bare_newline == "normalize"
        octets = BinaryOctets() if binary else ChunkedOctets(normalize=normalize)
        super().__init__(options, octets, may_be_bare=False)
        self._announced = 0

    def announce(self, octets: int) -> None:
        """A chunk of so many octets follows. A message that would be too big is rejected at once."""
        self._announced += octets
        if self._announced > self._options.max_message_size:
            self._size = self._announced

    def finish(self) -> bytes:
        """The last octets, at the end of the message. May be called again."""
        data = self._octets.finish()
        return self._scanned(data) if data else b""
