"""Converts the text of a local program, such as ``mail`` or ``cron``, to lines that end with CRLF.

A line of the input ends with an LF, with or without CRs before it; any other CR becomes a space. Chunks are
converted as a whole, and their boundaries make no difference.
"""

import re

# As in wire.dots: more CRs before an LF are text.
_LINE_END = re.compile(rb"\r{0,16}\n")
_BARE_CR = re.compile(rb"\r(?!\n)")
_DOT_LINE = re.compile(rb"\n\.\r{0,16}\n")
# The possible beginning of a line end, or of a line with a single dot.
_OPEN = re.compile(rb"(?:\r{0,16}\n\.)?\r{0,16}\Z|\r{0,16}\n\Z")
_LONGEST = 34


class LocalText:
    """Converts a text that arrives in pieces.

    With ``dot_ends``, a line with a single dot ends it; the dot and everything after it is dropped.
    """

    __slots__ = ("_at_start", "_dot_ends", "_held", "_last", "ended")

    def __init__(self, *, dot_ends: bool) -> None:
        # The text begins as if there were a line end before it.
        self._held = b"\n"
        self._at_start = True
        self._dot_ends = dot_ends
        self._last = b"\n"
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Convert the next octets. Returns the octets that are decided."""
        if self.ended:
            return b""
        data = self._held + data
        if self._dot_ends and (dot := _DOT_LINE.search(data)) is not None:
            self.ended = True
            self._held = b""
            return self._converted(data[: dot.start() + 1])
        tail = data[-_LONGEST:]
        match = _OPEN.search(tail)
        keep = len(tail) - match.start() if match else 0
        self._held = data[len(data) - keep :]
        return self._converted(data[: len(data) - keep])

    def finish(self) -> bytes:
        """The text has ended. Returns the last octets, with a line end if the text has none."""
        rest, self._held = self._held, b""
        if self._dot_ends and rest.lstrip(b"\r").startswith(b"\n."):
            rest = b"\n"
        text = self._converted(rest.rstrip(b"\r") if not rest.endswith(b"\n") else rest)
        return text if self._last == b"\n" else text + b"\r\n"

    def _converted(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._last = data[-1:]
        text = _LINE_END.sub(b"\r\n", data) if b"\r" in data else data.replace(b"\n", b"\r\n")
        if b"\r" in data:
            text = _BARE_CR.sub(b" ", text)
        if self._at_start:
            self._at_start = False
            text = text[2:]
        return text
