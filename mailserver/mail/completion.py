"""What a submitted message lacks in its header, added as it passes by (RFC 6409 section 8).

For submission only: mail from elsewhere goes on as it came (RFC 5321 section 6.4). Of what an MSA may
do to a message this does the least that makes it one:

    8.2 Date, 8.3 Message-ID   added where they are missing. What is there stays, even if it is malformed:
                               the sender's own copy and the replies to it name it so.
    blank line                 added where text follows the header, or stands in its place, without one.
    Bcc, Resent-Bcc            removed on request: the first of the three ways of RFC 5322 section 3.6.3. Not
                               by itself, since a client may send those of the Bcc a copy that has it.

And leaves the rest, for these reasons:

    From                       neither section 8 nor RFC 5321 section 6.4 lets a server say who the author is.
    8.1 Sender                 who may send as whom is settled by the reverse-path; the account's name is
                               nobody's business.
    Resent-*                   strictly informational, several sets may be there, and the newest has passed
                               when its end is seen. They do not stand for Date and Message-ID, either,
                               which the message itself must have (RFC 5322 section 3.6).
    8.4 transfer encoding      everything here takes 8-bit text, and signatures cover the octets.
    8.5, 8.6 sign, encrypt     not a matter of the header alone.
    8.7, 8.8 rewrite addresses no alias needs it, and every address that is touched may be broken.

Lines end with CRLF; a CR or LF alone is like any other octet.

    fields     = *(field-name ":" unstructured CRLF)
    field-name = 1*ftext                ; %d33-57 / %d59-126
    obsolete   = field-name *WSP ":"    ; RFC 5322 section 4.5
"""

import re

from mailserver.mail.lines import NAME, other_fields, these_fields
from mailserver.mail.trace import date_time

_FIELD = re.compile(NAME + rb":")
_BEGINNING = re.compile(NAME + rb"|\r")
_BLIND = frozenset({b"bcc", b"resent-bcc"})


class HeadCompleter:
    """Passes a message on, fed in any pieces, with its header completed."""

    __slots__ = ("_done", "_held", "_keeping", "_missing", "_unwanted", "_within")

    def __init__(self, *, hostname: str, id: str, when: float, remove_bcc: bool = False) -> None:
        """``id`` at ``hostname`` becomes the Message-ID, ``when`` (seconds since the epoch) the Date, in
        the local time zone."""
        self._missing = {
            b"date": f"Date: {date_time(int(when))}\r\n".encode(),
            b"message-id": f"Message-ID: <{id}@{hostname}>\r\n".encode(),
        }
        self._unwanted = _BLIND if remove_bcc else frozenset()
        # The beginning of a line that cannot be judged yet, or a CR that may end one.
        self._held = b""
        self._within = False
        # Whether the last field stays; None before the first.
        self._keeping: bool | None = None
        self._done = False

    def feed(self, data: bytes) -> bytes:
        """Take the next octets of the message; return what can be passed on by now."""
        if self._done:
            return data
        data = self._held + data
        passed: list[bytes] = []
        at = 0
        while at < len(data):
            if not self._within:
                if self._keeping is not None and (run := self._run(data, at)):
                    if self._keeping:
                        passed.append(data[at:run])
                    at = run
                    continue
                judged = self._is_header(data, at)
                if judged is None:
                    break
                if not judged:
                    passed.append(self._end(data[at:]))
                    self._held = b""
                    return b"".join(passed)
            end = data.find(b"\r\n", at)
            self._within = end < 0
            end = len(data) - data.endswith(b"\r") if self._within else end + 2
            if self._keeping:
                passed.append(data[at:end])
            at = end
            if self._within:
                break
        self._held = data[at:]
        return b"".join(passed)

    def finish(self) -> bytes:
        """The message has ended, maybe within its header: return the last of what is passed on."""
        if self._done:
            return b""
        if not self._within:
            return self._end(self._held)
        fields = self._end(b"")
        if not self._keeping:
            return fields
        return self._held + (b"\r\n" + fields if fields else b"")

    def _run(self, data: bytes, at: int) -> int:
        """Where the lines end that go the way of the last field; 0 if there is no whole one."""
        if self._keeping:
            run = other_fields(self._unwanted.union(self._missing)).match(data, at)
        else:
            run = these_fields(self._unwanted).match(data, at)
        return run.end() if run else 0

    def _is_header(self, data: bytes, at: int) -> bool | None:
        """Whether the line that begins there belongs to the header; None if more of it must be seen."""
        if data[at] in b" \t" and self._keeping is not None:
            return True
        field = _FIELD.match(data, at)
        if field is None:
            return None if _BEGINNING.fullmatch(data, at) else False
        name = field[0][:-1].rstrip().lower()
        self._missing.pop(name, None)
        self._keeping = name not in self._unwanted
        return True

    def _end(self, rest: bytes) -> bytes:
        """The end of the header, and ``rest``, which follows it."""
        self._done = True
        blank = b"" if not rest or rest.startswith(b"\r\n") else b"\r\n"
        return b"".join(self._missing.values()) + blank + rest
