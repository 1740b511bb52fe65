"""The content of an outgoing message as it is sent: after DATA with dots (RFC 5321 section 4.5.2), or in BDAT
commands (RFC 3030). Bare line ends are replaced in both, so that the same octets arrive either way. They stay
in a binary message, which is sent in BDAT only."""

from mailserver.wire.dots import DotEncoder
from mailserver.wire.newlines import NewlineNormalizer

BDAT_CHUNK = 65536
"""Content is collected to so many octets before it is sent in a BDAT that is not the last one."""


class DotContent:
    """The content after DATA."""

    __slots__ = ("_dots", "_newlines")

    def __init__(self) -> None:
        self._newlines = NewlineNormalizer()
        self._dots = DotEncoder()

    def feed(self, chunk: bytes) -> bytes:
        """The octets to send for the next piece of content."""
        return self._dots.feed(self._newlines.feed(chunk))

    def finish(self) -> bytes:
        """The end of the content, with the final dot."""
        return self._dots.feed(self._newlines.finish()) + self._dots.finish()


class ChunkedContent:
    """The content in BDAT commands."""

    __slots__ = ("_newlines", "_octets", "_pieces")

    def __init__(self, *, binary: bool = False) -> None:
        """``binary``: bare line ends stay."""
        self._newlines = None if binary else NewlineNormalizer()
        self._pieces: list[bytes] = []
        self._octets = 0

    def feed(self, chunk: bytes) -> bytes:
        """A BDAT command with the content before ``chunk``, b"" if that is not enough for one."""
        command = self._command(b"") if self._octets >= BDAT_CHUNK else b""
        data = chunk if self._newlines is None else self._newlines.feed(chunk)
        self._pieces.append(data)
        self._octets += len(data)
        return command

    def finish(self) -> bytes:
        """The last BDAT command."""
        if self._newlines is not None:
            self._pieces.append(self._newlines.finish())
            self._octets += len(self._pieces[-1])
        return self._command(b" LAST")

    def _command(self, last: bytes) -> bytes:
        command = b"BDAT %d%b\r\n" % (self._octets, last) + b"".join(self._pieces)
        self._pieces.clear()
        self._octets = 0
        return command
