"""Filters the header of an arriving message, so that the trace fields of this server can go before it.

    Return-Path   removed: final delivery adds its own, and there must be no other (RFC 5321 section 4.4)
    blank line    added before a text that does not begin with a header field, so that the text is not read
                  as part of the trace fields (RFC 5322 section 2.1)

Nothing else changes, so that signatures stay valid. :mod:`~mailserver.mail.completion` has the additional
changes for submitted messages. Lines end with CRLF; a CR or LF alone is like any other octet.

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
    """Filters the header of a message that arrives in pieces."""

    __slots__ = ("_done", "_held", "_keeping", "_kept", "_named", "_unwanted", "_within")

    def __init__(self, unwanted: frozenset[bytes] = ALWAYS_UNWANTED) -> None:
        """``unwanted``: names of the fields to remove, in lower case."""
        self._unwanted = unwanted
        # The beginning of a line that is still undecided, or a CR that may end one.
        self._held = b""
        self._within = False
        # Whether the last field is kept, None before the first one; and whether any field is kept.
        self._keeping: bool | None = None
        self._kept = False
        # Whether there was a field of the sender.
        self._named = False
        self._done = False

    # ------------------------------------------------------------ for subclasses

    def is_fine(self, data: bytes) -> bool:
        """Whether ``data`` begins with a whole header that needs no change, as most do."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or _FIELD.match(data) is None:
            return False
        head = data[:end].lower()
        return not any(name in head for name in self._unwanted)

    def watched(self) -> frozenset[bytes]:
        """The names, in lower case, of the fields for which ``field`` must be called."""
        return frozenset()

    def field(self, name: bytes) -> None:
        """A field with this name, in lower case, has begun."""

    def mailbox_line(self, data: bytes, at: int) -> bool:
        """Whether to turn the line at this position into a field, though it is none."""
        return False

    def end(self, rest: bytes) -> bytes:
        """The octets to insert between the header and ``rest``, which follows it."""
        return b"" if self._kept or not rest or rest.startswith(b"\r\n") else b"\r\n"

    # ------------------------------------------------------------ the message

    def feed(self, data: bytes) -> bytes:
        """Take the next octets of the message. Returns the octets that are decided."""
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
        """The message has ended, possibly within its header. Returns the last octets."""
        if self._done:
            return b""
        if not self._within:
            return self._end(self._held)
        fields = self._end(b"")
        if not self._keeping:
            return fields
        return self._held + (b"\r\n" + fields if fields else b"")

    def _run(self, data: bytes, at: int, passed: list[bytes]) -> int:
        """Keep or remove many lines at once. Returns the position of the first line that needs a check."""
        run = other_fields(self.watched()).match(data, at)
        if run is None:
            return at
        lines, self._keeping = without_fields(run[0], self._unwanted, bool(self._keeping))
        self._kept = self._kept or bool(lines)
        passed.append(lines)
        return run.end()

    def _is_header(self, data: bytes, at: int) -> bool | None:
        """Whether the line at this position belongs to the header; None if more of it is needed."""
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
