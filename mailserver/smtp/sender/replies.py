"""Replies of a server (RFC 5321 section 4.2, RFC 2034), read from a stream in bounded memory.

    Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF

The reader also accepts what servers send in fact: a bare LF as the end of a line, a tab after the code, text
in any charset and of any length, lines with different codes (the last one counts). What is no reply at all
raises :class:`BadReply`: the replies are then out of step with the commands.
"""

import re
from functools import lru_cache

import attrs

from mailserver.mail.verdict import Status

MAX_REPLY = 16384
"""Maximum octets of a reply, all its lines together. A longer one ends the session."""
MAX_TEXT = 1000
"""Maximum characters of the text of a reply in one line; the rest is dropped."""

SHORT = 80  # octets of a line that is remembered

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([- \t])(.*)|\r?)", re.DOTALL)
_ENHANCED = re.compile(r"^([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:[ \t]+|\Z)")


class BadReply(Exception):
    """The server has sent something that is not a reply."""


@attrs.frozen
class ServerReply:
    """One reply. ``lines`` are without the code, printable, at least one. ``str()`` has it in one line."""

    code: int
    lines: tuple[str, ...]

    @property
    def status(self) -> Status | None:
        """Subject and detail of the enhanced status code (RFC 3463), None without one of the same class."""
        match = _ENHANCED.match(self.lines[-1]) or _ENHANCED.match(self.lines[0])
        if match is None or int(match[1]) != self.code // 100:
            return None
        return Status(int(match[2]), int(match[3]))

    @property
    def text(self) -> str:
        """The text without the enhanced status codes, in one line."""
        return " ".join(filter(None, [_ENHANCED.sub("", line, count=1) for line in self.lines]))[:MAX_TEXT]

    def __str__(self) -> str:
        status = self.status
        enhanced = f" {self.code // 100}.{status.subject}.{status.detail}" if status else ""
        return f"{self.code}{enhanced} {self.text}".rstrip()


class ReplyReader:
    """Splits the stream of a server into replies."""

    __slots__ = ("_data", "_lines", "_octets", "_start")

    def __init__(self) -> None:
        self._data = b""
        self._start = 0
        self._lines: list[str] = []  # of the reply that has begun
        self._octets = 0  # of these lines

    def __len__(self) -> int:
        """The number of octets that no reply has taken, those of a reply that has begun included."""
        return self._octets + len(self._data) - self._start

    def feed(self, data: bytes) -> None:
        """Add received octets."""
        self._data = self._data[self._start :] + data if self._start < len(self._data) else data
        self._start = 0

    def next_reply(self) -> ServerReply | None:
        """Take the next reply. Returns None if it is not complete. Raises :class:`BadReply`."""
        data = self._data
        while (end := data.find(b"\n", self._start)) >= 0:
            start, self._start = self._start, end + 1
            self._octets += self._start - start
            if self._octets > MAX_REPLY:
                break
            code, more, text = (_parse_short if end - start <= SHORT else _parse)(data[start:end])
            self._lines.append(text)
            if not more:
                reply = ServerReply(code, tuple(self._lines))
                self._lines, self._octets = [], 0
                return reply
        if self._octets + len(data) - self._start > MAX_REPLY:
            raise BadReply(f"a reply of more than {MAX_REPLY} octets")
        return None


def _parse(line: bytes) -> tuple[int, bool, str]:
    """The code of a line, whether another line follows, and the text. Raises :class:`BadReply`."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadReply(f"not a reply: {_printable(line[:80])}")
    code, separator, text = match.groups()
    return int(code), separator == b"-", _printable(text) if text else ""


# A server sends the same few replies again and again.
_parse_short = lru_cache(maxsize=128)(_parse)


def _printable(octets: bytes) -> str:
    text = octets.decode("utf-8", "replace").strip()
    if text.isprintable():
        return text
    return "".join([character if character.isprintable() else "?" for character in text])
