"""Command lines out of a stream of bytes, in bounded memory.

A line ends at an LF, with or without a CR before it. A strict buffer reports a line in which a CR or LF
stands alone, in place of the line, and goes on after the LF. Either way nothing can be smuggled, since
the end of a message is found by ``wire.dots`` and by CRLF alone. A line longer than the limit is thrown
away as it arrives and reported once, at its end, so that the stream stays in step.
"""

from enum import Enum


class Line(Enum):
    """What :meth:`LineBuffer.next_line` returns when it has no line to give."""

    INCOMPLETE = "more bytes are needed"
    TOO_LONG = "a line was longer than the limit and is gone"
    BARE_NEWLINE = "a line had a CR or LF that stands alone and is gone"


class LineBuffer:
    """Holds received bytes until somebody takes them, as lines or all at once."""

    __slots__ = ("_data", "_limit", "_overlong", "_start", "_strict")

    def __init__(self, limit: int, *, strict: bool = False) -> None:
        """``limit`` is the greatest length of a line in octets, its CRLF included."""
        self._strict = strict
        self._data = b""
        self._start = 0
        self._limit = limit
        self._overlong = False

    def __len__(self) -> int:
        return len(self._data) - self._start

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        if self._start == len(self._data):
            self._data = data
        else:
            self._data = self._data[self._start :] + data
        self._start = 0

    def next_line(self) -> bytes | Line:
        """Take the next line, without its line end."""
        end = self._data.find(b"\n", self._start)
        if end < 0:
            if self._overlong or len(self) > self._limit:
                self._overlong = True
                self.take_all()
            return Line.INCOMPLETE
        start, self._start = self._start, end + 1
        if self._start == len(self._data):
            data, self._data, self._start = self._data, b"", 0
        else:
            data = self._data
        if self._overlong or end + 1 - start > self._limit:
            self._overlong = False
            return Line.TOO_LONG
        if end > start and data[end - 1] == 0x0D:
            end -= 1
        elif self._strict:
            return Line.BARE_NEWLINE
        line = data[start:end]
        return Line.BARE_NEWLINE if self._strict and b"\r" in line else line

    def take_all(self) -> bytes:
        """Take everything that is there, for a reader of another kind."""
        data = self._data[self._start :] if self._start else self._data
        self._data, self._start = b"", 0
        return data

    def put_back(self, data: bytes) -> None:
        """Return the part that the other reader did not want; it must be all there is."""
        self._data, self._start = data, 0


class LineMeter:
    """Finds the longest line of a text that comes in pieces; octets, the line end included."""

    __slots__ = ("_open", "longest")

    def __init__(self) -> None:
        self.longest = 0
        self._open = 0

    def feed(self, data: bytes) -> None:
        """Measure the next octets."""
        *ended, rest = data.split(b"\n")
        for line in ended:
            self.longest = max(self.longest, self._open + len(line) + 1)
            self._open = 0
        self._open += len(rest)
        self.longest = max(self.longest, self._open)
