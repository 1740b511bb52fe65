"""An mbox as a source, in the formats mboxo and mboxrd (mbox(5), RFC 4155).

    mbox     = *( from-line message blank-line )
    from-line = "From " sender SP date [ SP remote ] LF

In a message, a line that begins with one or more ``>`` and ``From `` has one ``>`` less. Line ends stay as
they are. The header field X-UIDL of a message, which POP3 servers such as qpopper write, is its unique-id;
Status and X-Status are its flags.
"""

import calendar
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from io import BufferedReader, FileIO
from pathlib import Path

from mailserver.errors import StorageError
from mailserver.migration.source import MBOX_MARK, SourceMessage
from mailserver.store.content import open_message
from mailserver.store.names import is_uid

MAX_LINE = 64 * 1024  # octets that are read at once
HEADER = 64 * 1024  # octets of a message that have the fields
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FROM = re.compile(
    rb"From (?:\S.*? +)?[A-Z][a-z]{2},? +(?P<month>[A-Z][a-z]{2}) +(?P<day>[0-9]{1,2})"
    rb" +(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    rb"(?: +(?P<zone>[+-][0-9]{4}|[A-Z]{3,4}))? +(?P<year>[0-9]{4})(?: +(?P<offset>[+-][0-9]{4}))?\b"
)
_QUOTED = re.compile(rb">+From ")
_UIDL = re.compile(rb"^x-uidl:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(rb"^(?:x-)?status:[ \t]*([A-Za-z]*)", re.IGNORECASE | re.MULTILINE)
_FLAGS = {"R": "S", "A": "R", "F": "F", "D": "T"}  # of Status and X-Status, in the names of Maildirs


class MboxSource:
    """The mbox in the file ``path``."""

    def __init__(self, path: Path) -> None:
        """Raises ``OSError``, and :class:`~mailserver.errors.StorageError` if it is no mbox."""
        self._path = path
        self.problems: list[str] = []
        with self._opened() as file:
            first = file.readline(MAX_LINE)
        if first and from_date(first) is None:
            raise StorageError(
                f'{path} is not an mbox: its first line does not begin with "From " and a date'
            )

    @contextmanager
    def _opened(self) -> "Iterator[BufferedReader[FileIO]]":
        with open_message(str(self._path)) as raw, BufferedReader(raw) as file:
            yield file

    def messages(self) -> Iterator[SourceMessage]:
        """See :class:`~mailserver.migration.source.MessageSource`."""
        seen: dict[str, int] = {}
        with self._opened() as file:
            starts = list(_starts(file))
            ends = [place for place, _, _ in starts[1:]] + [file.seek(0, 2)]
            for number, ((_, start, line), end) in enumerate(zip(starts, ends, strict=False), 1):
                when = from_date(line) or 0
                hashed = blake2b(line, digest_size=16)
                octets = crlf = 0
                beginning, last = b"", b""
                for chunk in _content(file, start, end):
                    hashed.update(chunk)
                    octets += len(chunk)
                    crlf += chunk.count(b"\n") - chunk.count(b"\r\n")
                    crlf -= last == b"\r" and chunk.startswith(b"\n")
                    last = chunk[-1:]
                    if len(beginning) < HEADER:
                        beginning += chunk
                key = hashed.hexdigest()
                seen[key] = seen.get(key, 0) + 1
                copy = "" if seen[key] == 1 else f"-{seen[key]}"
                header = re.split(rb"\r?\n\r?\n", beginning, maxsplit=1)[0]
                yield SourceMessage(
                    f"{self._path}: message {number}",
                    f"{when}.M{number:06}{MBOX_MARK}{key}{copy}",
                    f",S={octets},W={octets + crlf}",
                    _flags(header), _uid(header), float(when), partial(self._open, start, end),
                )  # fmt: skip

    @contextmanager
    def _open(self, start: int, end: int) -> Iterator[Iterator[bytes]]:
        with self._opened() as file:
            yield _content(file, start, end)


def from_date(line: bytes) -> int | None:
    """The date in a From line, in seconds since the epoch; None if the line is not one. Without a zone it is
    taken as UTC."""
    match = _FROM.match(line)
    if match is None or (month := match["month"].decode()) not in _MONTHS:
        return None
    numbers = [int(match[name] or 0) for name in ("day", "hour", "minute", "second")]
    when = calendar.timegm((int(match["year"]), _MONTHS.index(month) + 1, *numbers))
    zone = match["offset"] or match["zone"] or b""
    if zone[:1] in (b"+", b"-"):
        offset = int(zone[1:3]) * 3600 + int(zone[3:]) * 60
        when -= -offset if zone.startswith(b"-") else offset
    return max(when, 0)


def _starts(file: "BufferedReader[FileIO]") -> Iterator[tuple[int, int, bytes]]:
    """The place of each From line, that of the message after it, and the line."""
    position = 0
    at_start = True
    while line := file.readline(MAX_LINE):
        if at_start and line.startswith(b"From ") and line.endswith(b"\n") and from_date(line) is not None:
            yield position, position + len(line), line.rstrip(b"\r\n")
        position += len(line)
        at_start = line.endswith(b"\n")


def _content(file: "BufferedReader[FileIO]", start: int, end: int) -> Iterator[bytes]:
    """The octets of a message, without the blank line at its end."""
    end -= _blank_line(file, start, end)
    file.seek(start)
    left, at_start = end - start, True
    while left > 0 and (line := file.readline(min(MAX_LINE, left))):
        left -= len(line)
        yield line[1:] if at_start and _QUOTED.match(line) else line
        at_start = line.endswith(b"\n")


def _blank_line(file: "BufferedReader[FileIO]", start: int, end: int) -> int:
    """The octets of the blank line that ends a message."""
    first = max(start, end - 4)
    file.seek(first)
    ending = file.read(end - first)
    for blank in (b"\r\n", b"\n"):
        if ending.endswith(b"\n" + blank) or ending == blank:
            return len(blank)
    return 0


def _flags(header: bytes) -> str:
    letters = {letter for found in _STATUS.findall(header) for letter in found.decode()}
    flags = "".join(sorted(_FLAGS[letter] for letter in letters if letter in _FLAGS))
    # O: an old message, which a mail reader has seen in a listing.
    return f":2,{flags}" if letters & {*_FLAGS, "O"} else ""


def _uid(header: bytes) -> str | None:
    match = _UIDL.search(header)
    uid = match[1].decode("latin-1") if match is not None else ""
    return uid if is_uid(uid) else None
