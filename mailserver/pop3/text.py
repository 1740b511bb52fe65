"""TOP: the header of a message, the blank line, and a number of lines of its body (RFC 1939 section 7).

The message comes in pieces of any size. Only a few octets are kept, so the memory is bounded. Lines end with
CRLF and are not byte-stuffed.
"""

FEW = 8  # lines


class TopCutter:
    """Passes the top of a message through. ``done``: the rest of the message is not needed."""

    __slots__ = ("_in_header", "_lines", "_tail", "done")

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._in_header = True
        # The last octets before. They begin as a line end: a message whose first line is blank has no header.
        self._tail = b"\r\n"
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The part of ``data`` that belongs to the top."""
        if self.done or not data:
            return b""
        start = 0
        if self._in_header:
            seen = self._tail + data
            blank = seen.find(b"\r\n\r\n")
            if blank < 0:
                self._tail = seen[-3:]
                return data
            self._in_header = False
            start = blank + 4 - len(self._tail)
        elif self._tail == b"\r" and data.startswith(b"\n"):
            # A line that ends at the edge of two pieces.
            self._lines -= 1
            start = 1
        self._tail = data[-1:]
        ends = data.count(b"\r\n", start)
        if ends < self._lines:
            self._lines -= ends
            return data
        self.done = True
        return data[: _after(data, start, self._lines)]


def _after(data: bytes, start: int, lines: int) -> int:
    """The end of that many lines, which must exist. Counting is much faster than searching one by one."""
    end = len(data)
    while lines > FEW:
        middle = (start + end) // 2
        middle += data[middle - 1 : middle + 1] == b"\r\n"
        before = data.count(b"\r\n", start, middle)
        if before < lines:
            start, lines = middle, lines - before
        else:
            end = middle
    for _ in range(lines):
        start = data.find(b"\r\n", start) + 2
    return start
