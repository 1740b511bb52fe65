"""Splits a stream of octets into command lines, in bounded memory.

A line ends at an LF, with or without a CR before it. A strict buffer reports a line with a bare CR or LF
instead of returning it, and continues after the LF. In both modes smuggling is impossible, because
``wire.dots`` finds the end of a message only by CRLF. A line longer than the limit is discarded while it
arrives and reported once, at its end, so that commands and replies stay in step.
"""

from enum import Enum


class Line(Enum):
    """The results of :meth:`LineBuffer.next_line` that are no lines."""

    INCOMPLETE = "more octets are needed"
    TOO_LONG = "the line was longer than the limit and is discarded"
    BARE_NEWLINE = "the line had a bare CR or LF and is discarded"


BEGINNING = 8
"""The number of octets that are kept of a discarded line."""


class LineBuffer:
    """Keeps received octets until they are taken as lines or all at once.

    ``beginning`` has the first octets of the last line that was discarded.
    """

    __slots__ = ("_data", "_limit", "_overlong", "_start", "_strict", "beginning")

    def __init__(self, limit: int, *, strict: bool = False) -> None:
        """``limit`` is the maximum length of a line in octets, including its CRLF."""
        self._strict = strict
        self._data = b""
        self._start = 0
        self._limit = limit
        self._overlong = False
        self.beginning = b""

    def __len__(self) -> int:
        return len(self._data) - self._start

    def feed(self, data: bytes) -> None:
        """Add received octets."""
        if self._start == len(self._data):
            self._data = data
        else:
            self._data = self._data[self._start :] + data
        self._start = 0

    def next_line(self) -> bytes | Line:
        """Take the next line, without its line end."""
        if self._start == len(self._data):
            return Line.INCOMPLETE
        end = self._data.find(b"\n", self._start)
        if end < 0:
            if self._overlong or len(self) > self._limit:
                if not self._overlong:
                    self._discarded(self._data, self._start)
                self._overlong = True
                self.take_all()
            return Line.INCOMPLETE
        start, self._start = self._start, end + 1
        if self._start == len(self._data):
            data, self._data, self._start = self._data, b"", 0
        else:
            data = self._data
        if self._overlong or end + 1 - start > self._limit:
            if not self._overlong:
                self._discarded(data, start)
            self._overlong = False
            return Line.TOO_LONG
        if end > start and data[end - 1] == 0x0D:
            line = data[start : end - 1]
            if not (self._strict and b"\r" in line):
                return line
        elif not self._strict:
            return data[start:end]
        self._discarded(data, start)
        return Line.BARE_NEWLINE

    def _discarded(self, data: bytes, start: int) -> None:
        self.beginning = data[start : start + BEGINNING]

    def take(self, octets: int) -> bytes:
        """Take so many octets, or all if there are fewer, for another reader."""
        if octets >= len(self):
            return self.take_all()
        start = self._start
        self._start += octets
        return self._data[start : self._start]

    def take_all(self) -> bytes:
        """Take all octets, for another reader such as the one of message text."""
        data = self._data[self._start :] if self._start else self._data
        self._data, self._start = b"", 0
        return data

    def put_back(self, data: bytes) -> None:
        """Put back the octets that the other reader has not used. The buffer must be empty."""
        self._data, self._start = data, 0


class LineMeter:
    """Finds the longest line of a text in pieces, in octets, including the line end."""

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
