"""Finds the ends of replies in what a server sends (RFC 5321 section 4.2, RFC 1939 section 3)."""

import re
from collections import deque

_SMTP_GOES_ON = re.compile(rb"[0-9]{3}-")
_HAS_LINES = re.compile(rb"(?i)(RETR\s|TOP\s|CAPA\s*$|(LIST|UIDL|AUTH)\s*$)")


class ReplyCounter:
    """Counts the replies of one server. ``last`` is the first line of the last whole reply."""

    def __init__(self, protocol: str) -> None:
        """``protocol`` is "smtp" or "pop3"."""
        self._protocol = protocol
        self._greeted = False
        self._lists: deque[bool] = deque()  # for each command without a reply: whether it has many lines
        self._first: bytes | None = None  # the first line of a reply that goes on
        self.count = 0
        self.last = b""

    def command(self, line: bytes) -> None:
        """The client has sent a line that gets a reply."""
        self._lists.append(_HAS_LINES.match(line) is not None)

    def line(self, line: bytes) -> None:
        """The server has sent a line."""
        first = self._first
        if self._protocol == "smtp":
            goes_on = _SMTP_GOES_ON.match(line) is not None
        elif first is not None:
            goes_on = line.rstrip(b"\r\n") != b"."
        else:
            goes_on = self._next_has_lines() and line.startswith(b"+OK")
        if first is None:
            first = line
        self._first = first if goes_on else None
        if not goes_on:
            self.count += 1
            self.last = first.rstrip(b"\r\n")

    def end(self) -> None:
        """A reply that goes on ends here, since the rest of it is not known."""
        if self._first is not None:
            self.count += 1
            self.last, self._first = self._first.rstrip(b"\r\n"), None

    def _next_has_lines(self) -> bool:
        if not self._greeted:
            self._greeted = True
            return False
        return bool(self._lists) and self._lists.popleft()

    @property
    def is_positive(self) -> bool:
        """Whether the last reply is one of success, or asks the client to continue."""
        return self.last[:1] in (b"2", b"3", b"+")

    @property
    def continues(self) -> bool:
        """Whether the last reply asks for a response of AUTH or for a message."""
        return self.last[:1] == b"3" or self.last == b"+" or self.last.startswith(b"+ ")
