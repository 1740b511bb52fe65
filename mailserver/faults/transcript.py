"""The record of one session: what each side sent and when, with all secrets masked before they are stored.

The thread that runs the session adds entries, and any other thread may read at the same time: entries are
frozen, and the last one is replaced as a whole when it grows.
"""

import base64
import json
import re
from typing import Any, Literal

import attrs

MAX_KEPT = 65536
"""Maximum number of octets of one entry that are kept; ``TranscriptEntry.octets`` counts all of them."""
MASK = "********"
"""Stands for a password, for a digest of one, and for a response of AUTH."""

EntryKind = Literal["command", "response", "content", "reply", "event"]
_WHO: dict[str, Literal["client", "server", "event"]] = {
    "command": "client",
    "response": "client",  # a line of an AUTH exchange
    "content": "client",  # the text of a message
    "reply": "server",
    "event": "event",
}
_MARKS = {"client": "C:", "server": "S:", "event": "--"}
_MASK = MASK.encode()
_ENDS = b"\r\n"
# The rest of the line is secret. A client may separate words as it likes.
_SECRETS = (
    re.compile(rb"(?is)(?P<open>\s*PASS\s*)(?P<secret>.+)"),
    re.compile(rb"(?is)(?P<open>\s*APOP\s+(?:\S+\s+)?)(?P<secret>.+)"),
    re.compile(rb"(?is)(?P<open>\s*AUTH[\s=]+[\w-]{1,20}\s+)(?P<secret>.+)"),
)
_NO_SECRET = re.compile(rb"(?i)\s*AUTH([\s=]+[\w-]{1,20}(\s+=)?)?\s*")
# Malformed logins, and those of other protocols: "AUTH:PLAIN ...", "a1 LOGIN bob ..." of IMAP.
_STRANGE_LOGIN = re.compile(
    rb"(?is)(?P<open>\W*(?:X-?)?(?:AUTHENTICATE|AUTH|PASSWORD|PASSWD|PASS|APOP|LOGIN)\s*"
    rb"|\W*\w*\d\s+(?:AUTHENTICATE|LOGIN)\s+)(?P<secret>.+)"
)
_VERBS = frozenset(
    b"HELO EHLO LHLO AUTH STARTTLS MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP ETRN ATRN XCLIENT "
    b"XFORWARD USER PASS APOP CAPA STLS STAT LIST UIDL RETR TOP DELE LAST UTF8 LANG".split()
)
_BEGINNINGS = {"smtp": re.compile(rb"[0-9]{3}[ -]"), "pop3": re.compile(rb"\+OK|-ERR|\+ ")}
_DIALOGUE_LINES = 20
_DIALOGUE_WIDTH = 200


@attrs.frozen
class TranscriptEntry:
    """What one side sent at once.

    ``time`` is in seconds since the session began. ``octets`` counts what was sent; ``data`` has it, masked,
    and at most ``MAX_KEPT`` octets of it. ``tls``: it was sent through TLS.
    """

    time: float
    kind: EntryKind
    octets: int
    data: bytes = attrs.field(repr=lambda data: repr(data[:_DIALOGUE_WIDTH]))
    tls: bool

    @property
    def who(self) -> Literal["client", "server", "event"]:
        return _WHO[self.kind]

    @property
    def text(self) -> str:
        """The line or the lines, without the last line end. Octets that are not UTF-8 become ``\\xNN``."""
        return self.data.decode(errors="backslashreplace").removesuffix("\n").removesuffix("\r")

    @property
    def verb(self) -> str:
        """The verb of a command in upper case, "" for all else."""
        words = self.text.split(maxsplit=1) if self.kind == "command" else ()
        return words[0].upper() if words else ""

    @property
    def omitted(self) -> int:
        """Number of octets that were sent and not kept."""
        return self.octets - len(self.data) if len(self.data) == MAX_KEPT else 0


class Transcript:
    """The record of the session ``id`` of a ``client``, an IP address.

    ``began``, and ``now`` of all methods, is in seconds since the epoch.
    """

    def __init__(self, id: str, protocol: str, client: str, began: float) -> None:
        """``protocol`` is "smtp" or "pop3"."""
        self.id = id
        self.protocol = protocol
        self.client = client
        self.began = began
        self._entries: list[TranscriptEntry] = []
        # A client that does not wait for the reply to AUTH may send its secret as a command.
        self._after_auth = False

    # ------------------------------------------------------------ recording

    def command(self, line: bytes, now: float, *, tls: bool, in_login: bool) -> bytes:
        """A line of the client with its line end. ``in_login``: it is a response of AUTH. Returns the line
        with its secrets masked."""
        kind: EntryKind = "response" if in_login else "command"
        masked = self._masked(line, in_login)
        self._add(kind, masked, now, tls, octets=len(line))
        return masked

    def text(self, data: bytes, now: float, tls: bool) -> None:
        """Octets of a message from the client. Consecutive pieces become one entry."""
        self._grow("content", data, now, tls)

    def reply(self, data: bytes, now: float, tls: bool) -> None:
        """Octets of the server. Consecutive pieces of a reply become one entry."""
        if self._ends_reply() and _BEGINNINGS[self.protocol].match(data):
            self._add("reply", data, now, tls, octets=len(data))
        else:
            self._grow("reply", data, now, tls)

    def event(self, text: str, now: float, tls: bool) -> None:
        """Something that is no octet of either side, such as "connection closed"."""
        self._add("event", text.encode(errors="backslashreplace"), now, tls, octets=0)

    def _masked(self, line: bytes, in_login: bool) -> bytes:
        content = line.rstrip(_ENDS)
        words = content.split(maxsplit=1)
        verb = re.split(rb"[^\w-]", words[0].upper(), maxsplit=1)[0] if words else b""
        if not in_login and verb in _VERBS:
            self._after_auth = verb == b"AUTH"
        elif in_login or self._after_auth:
            return line if content in (b"", b"*") else _MASK + line[len(content) :]
        if _NO_SECRET.fullmatch(content):
            return line
        for pattern in (*_SECRETS, _STRANGE_LOGIN):
            if match := pattern.fullmatch(content):
                self._after_auth |= pattern is _STRANGE_LOGIN and verb not in _VERBS
                return match["open"] + _MASK + line[len(content) :]
        return line

    def _ends_reply(self) -> bool:
        """Whether a reply may be over with the last entry."""
        last = self._entries[-1].data if self._entries else b""
        goes_on = self.protocol == "smtp" and last[last.rfind(b"\n", 0, -1) + 1 :][3:4] == b"-"
        return last.endswith(b"\n") and not goes_on

    def _add(self, kind: EntryKind, data: bytes, now: float, tls: bool, *, octets: int) -> None:
        time = round(now - self.began, 6)
        self._entries.append(TranscriptEntry(time, kind, octets, data[:MAX_KEPT], tls))

    def _grow(self, kind: EntryKind, data: bytes, now: float, tls: bool) -> None:
        last = self._entries[-1] if self._entries else None
        if last is None or last.kind != kind or last.tls != tls:
            self._add(kind, data, now, tls, octets=len(data))
            return
        kept = last.data
        if len(kept) < MAX_KEPT:
            kept += data[: MAX_KEPT - len(kept)]
        self._entries[-1] = TranscriptEntry(last.time, kind, last.octets + len(data), kept, tls)

    # ------------------------------------------------------------ reading

    @property
    def entries(self) -> tuple[TranscriptEntry, ...]:
        """All entries so far, the first one first."""
        return tuple(self._entries)

    @property
    def commands(self) -> list[str]:
        """The commands of the client, without the responses of AUTH and without messages."""
        return [entry.text for entry in self.entries if entry.kind == "command"]

    @property
    def replies(self) -> list[str]:
        """The replies of the server, one string each. Lines within a reply end in CRLF."""
        return [reply for entry in self.entries for reply in self.replies_of(entry)]

    def replies_of(self, entry: TranscriptEntry) -> list[str]:
        """The replies in one entry."""
        if entry.kind != "reply":
            return []
        if entry.omitted:
            return [entry.text]
        return _split_smtp(entry.text) if self.protocol == "smtp" else _split_pop3(entry.text)

    def count(self, verb: str) -> int:
        """Number of commands with this verb, in any case."""
        return sum(entry.kind == "command" and entry.verb == verb.upper() for entry in self.entries)

    def dialogue(self, most: int | None = None) -> str:
        """All entries, or the last ones and at ``most`` so many, to be read by people. Long ones are
        abbreviated."""
        lines = [f"{self.protocol} session {self.id} of {self.client}"]
        entries = self.entries
        omitted = max(0, len(entries) - most) if most is not None else 0
        if omitted:
            lines.append(f"{'':9} -- (… {omitted} entries)")
        for entry in entries[omitted:]:
            time, mark = f"{entry.time:9.3f}", _MARKS[entry.who]
            for line in _abbreviated(entry):
                lines.append(f"{time} {mark} {line}".rstrip())
                time = " " * len(time)
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.dialogue()

    # ------------------------------------------------------------ JSON

    def json_lines(self) -> str:
        """JSON, one object a line: first the session, then its entries.

        ``base64`` has the octets of an entry that are not exactly its ``text`` in UTF-8 and CRLF.
        """
        head = {"id": self.id, "protocol": self.protocol, "client": self.client, "began": self.began}
        return "".join(json.dumps(each) + "\n" for each in (head, *map(_to_json, self.entries)))

    @classmethod
    def from_json_lines(cls, text: str) -> "Transcript":
        """The transcript that :meth:`json_lines` has written. Raises ValueError."""
        try:
            head, *entries = map(json.loads, text.splitlines())
            transcript = cls(**head)
            transcript._entries += map(_from_json, entries)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not a transcript: {error}") from error
        return transcript


def _to_json(entry: TranscriptEntry) -> dict[str, Any]:
    found = {
        "time": entry.time,
        "who": entry.who,
        "kind": entry.kind,
        "tls": entry.tls,
        "octets": entry.octets,
    }
    text = entry.text
    return (
        found
        | {"text": text}
        | (
            {}
            if _octets(entry.kind, text) == entry.data
            else {"base64": base64.b64encode(entry.data).decode()}
        )
    )


def _from_json(found: dict[str, Any]) -> TranscriptEntry:
    kind = found["kind"]
    if kind not in _WHO:
        raise ValueError(f"unknown kind of entry: {kind!r}")
    data = base64.b64decode(found["base64"]) if "base64" in found else _octets(kind, found["text"])
    return TranscriptEntry(found["time"], kind, found["octets"], data, found["tls"])


def _octets(kind: str, text: str) -> bytes:
    return text.encode() + (b"" if kind == "event" else b"\r\n")


def _split_smtp(text: str) -> list[str]:
    """A reply ends with the first line that has no hyphen after its code (RFC 5321 section 4.2)."""
    replies: list[list[str]] = [[]]
    for line in text.split("\r\n"):
        replies[-1].append(line)
        if not re.match(r"[0-9]{3}-", line):
            replies.append([])
    return ["\r\n".join(lines) for lines in replies if lines]


def _split_pop3(text: str) -> list[str]:
    """A positive reply may have many lines, with a single "." as the last one (RFC 1939 section 3).

    If that is missing, the reply goes on until the next one begins.
    """
    replies = []
    lines = text.split("\r\n")
    while lines:
        end = 1
        if lines[0].startswith("+OK"):
            while end < len(lines) and not lines[end].startswith(("+OK", "-ERR")):
                end += 1
            if "." in lines:
                end = lines.index(".") + 1
        replies.append("\r\n".join(lines[:end]))
        lines = lines[end:]
    return replies


def _abbreviated(entry: TranscriptEntry) -> list[str]:
    lines = [_printable(line) for line in entry.text.split("\n", _DIALOGUE_LINES + 1)]
    if len(lines) <= _DIALOGUE_LINES and not entry.omitted:
        return lines
    return [*lines[: _DIALOGUE_LINES - 1], f"(… {entry.octets} octets)"]


def _printable(line: str) -> str:
    """Without control characters, which could change the terminal."""
    line = line.removesuffix("\r")
    cut = line[:_DIALOGUE_WIDTH] + ("…" if len(line) > _DIALOGUE_WIDTH else "")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
