"""The header of a message as it passes by, made fit to stand behind our trace fields.

    Return-Path   removed: final delivery adds its own, and there must be no other (RFC 5321 section 4.4)
    blank line    added in front of a text that begins with no header field, so that it is no part of our
                  trace fields (RFC 5322 section 2.1): the message begins where the sender's first octet is

Nothing else changes, so that signatures stay good. What a submitted message gets on top of that is in
:mod:`~mailserver.mail.completion`. Lines end with CRLF; a CR or LF alone is like any other octet.

    fields     = *(field-name ":" unstructured CRLF)
    field-name = 1*ftext                ; %d33-57 / %d59-126
    obsolete   = field-name *WSP ":"    ; RFC 5322 section 4.5
"""

import re

from mailserver.mail.lines import NAME, other_fields, without_fields

_FIELD = re.compile(NAME + rb":")
_BEGINNING = re.compile(NAME + rb"|\r")
_RETURN_PATH = b"return-path"
ALWAYS_UNWANTED = frozenset({_RETURN_PATH})
_MAILBOX_LINE = b"X-Mailbox-Line: "


class HeadFilter:
    """Passes a message on, fed in any pieces, with its header put right."""

    __slots__ = ("_done", "_held", "_keeping", "_kept", "_named", "_unwanted", "_within")

    def __init__(self, unwanted: frozenset[bytes] = ALWAYS_UNWANTED) -> None:
        """``unwanted``: names of the fields that are removed, in lower case."""
        self._unwanted = unwanted
        # The beginning of a line that cannot be judged yet, or a CR that may end one.
        self._held = b""
        self._within = False
        # Whether the last field stays, None before the first; and whether any does.
        self._keeping: bool | None = None
        self._kept = False
        # Whether a field of the sender has come.
        self._named = False
        self._done = False

    # ------------------------------------------------------------ for subclasses

    def is_fine(self, data: bytes) -> bool:
        """Whether ``data`` begins with a whole header that stays as it is, as most do."""
        end = data.find(b"\r\n\r\n")
        return end >= 0 and _FIELD.match(data) is not None and _RETURN_PATH not in data[:end].lower()

    def watched(self) -> frozenset[bytes]:
        """Names, in lower case, of the fields that ``field`` must be called for."""
        return frozenset()

    def field(self, name: bytes) -> None:
        """A field with this name, in lower case, has begun."""

    def mailbox_line(self, data: bytes, at: int) -> bool:
        """Whether the line that begins there is made a field, though it is none."""
        return False

    def end(self, rest: bytes) -> bytes:
        """What goes between the header and ``rest``, which follows it."""
        return b"" if self._kept or not rest or rest.startswith(b"\r\n") else b"\r\n"

    # ------------------------------------------------------------ the message

    def feed(self, data: bytes) -> bytes:
        """Take the next octets of the message; return what can be passed on by now."""
        if self._done or (self._keeping is None and not self._held and self.is_fine(data)):
            self._done = True
            return data
        data = self._held + data
        passed: list[bytes] = []
        at = 0
        while at < len(data):
            if not self._within:
                if self._named:
                    at = self._run(data, at, passed)
                    if at == len(data):
                        break
                judged = self._is_header(data, at)
                if judged is None:
                    break
                if not judged:
                    if not self.mailbox_line(data, at):
                        passed.append(self._end(data[at:]))
                        self._held = b""
                        return b"".join(passed)
                    passed.append(_MAILBOX_LINE)
                    self._keeping = True
            end = data.find(b"\r\n", at)
            self._within = end < 0
            end = len(data) - data.endswith(b"\r") if self._within else end + 2
            if self._keeping:
                self._kept = True
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

    def _run(self, data: bytes, at: int, passed: list[bytes]) -> int:
        """Pass or remove many lines at once; where the first line begins that needs a look by itself."""
        run = other_fields(self.watched()).match(data, at)
        if run is None:
            return at
        lines, self._keeping = without_fields(run[0], self._unwanted, bool(self._keeping))
        self._kept = self._kept or bool(lines)
        passed.append(lines)
        return run.end()

    def _is_header(self, data: bytes, at: int) -> bool | None:
        """Whether the line that begins there belongs to the header; None if more of it must be seen."""
        if data[at] in b" \t" and self._keeping is not None:
            return True
        field = _FIELD.match(data, at)
        if field is None:
            return None if _BEGINNING.fullmatch(data, at) else False
        self._named = True
        name = field[0][:-1].rstrip().lower()
        self.field(name)
        self._keeping = name not in self._unwanted
        return True

    def _end(self, rest: bytes) -> bytes:
        self._done = True
        return self.end(rest) + rest
