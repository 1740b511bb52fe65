"""The octets of BDAT commands (RFC 3030): bare newlines in them, as ``wire.dots`` treats those after DATA.

Dots are not special here. The boundaries of chunks make no difference.
"""

from mailserver.wire.newlines import NewlineNormalizer, has_bare_newline

_HEADER_END = b"\r\n\r\n"


class ChunkedOctets:
    """Finds bare CRs and LFs. With ``normalize`` it replaces them: see ``wire.newlines``."""

    __slots__ = ("_held", "_normalizer", "bare_newline")

    def __init__(self, *, normalize: bool = False) -> None:
        self._normalizer = NewlineNormalizer() if normalize else None
        self._held = b""
        self.bare_newline = False

    def feed(self, data: bytes) -> bytes:
        """Take the next octets. Returns those that are decided."""
        if self._normalizer is not None:
            return self._normalizer.feed(data)
        if self._held or data.endswith(b"\r"):
            data = self._held + data
            self._held = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(self._held)]
        if data and not self.bare_newline:
            self.bare_newline = has_bare_newline(data)
        return data

    def finish(self) -> bytes:
        """The last octets, at the end of the message. May be called again."""
        if self._normalizer is not None:
            return self._normalizer.finish()
        held, self._held = self._held, b""
        self.bare_newline |= bool(held)
        return held


class BinaryOctets:
    """Passes all octets on. Finds bare newlines in the header, whose fields programs would not agree on."""

    __slots__ = ("_held", "bare_newline")

    def __init__(self) -> None:
        # The end of the header so far that may begin the blank line after it, None after the header. The
        # message begins as if there were a CRLF before it.
        self._held: bytes | None = b"\r\n"
        self.bare_newline = False

    def feed(self, data: bytes) -> bytes:
        """Take the next octets, and return them."""
        if self._held is not None:
            header = self._held + data
            end = header.find(_HEADER_END)
            if end >= 0:
                header, self._held = header[:end], None
            else:
                keep = next((n for n in (3, 2, 1) if header.endswith(_HEADER_END[:n])), 0)
                header, self._held = header[: len(header) - keep], header[len(header) - keep :]
            self.bare_newline |= has_bare_newline(header)
        return data

    def finish(self) -> bytes:
        """The last octets: none."""
        self.bare_newline |= self._held is not None and self._held.endswith(b"\r")
        return b""
