"""Scans the header of an arriving message for mail loops."""

import re

_RECEIVED = re.compile(rb"\r\nreceived[ \t]*:", re.IGNORECASE)
# No match of _RECEIVED needs more of a line.
_ENOUGH = 64


class HeadScanner:
    """Counts the Received fields of a message that arrives in pieces (RFC 5321 section 6.3)."""

    __slots__ = ("_carry", "_done", "received")

    def __init__(self) -> None:
        self.received = 0
        self._done = False
        # The text from the last CRLF on. The message begins as if there were a CRLF before it.
        self._carry = b"\r\n"

    def feed(self, data: bytes) -> None:
        """Scan the next octets of the message."""
        if self._done:
            return
        data = self._carry + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            self._done = True
            self._carry = b""
            self._count(data[:end])
            return
        cut = data.rfind(b"\r\n")
        line = data[cut:]
        if len(line) > _ENOUGH:
            self._count(data)
            # The line is decided; only its end is still needed.
            self._carry = b"\r\n." + (b"\r" if line.endswith(b"\r") else b"")
        else:
            self._count(data[:cut])
            self._carry = line

    def _count(self, data: bytes) -> None:
        self.received += len(_RECEIVED.findall(data))
