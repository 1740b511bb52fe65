"""Bare CRs and LFs of a text, in chunks: found, and replaced (RFC 5321 section 2.3.8).

A bare LF, with up to 16 CRs before it, becomes CRLF; any other bare CR becomes a space. Chunks are searched
as a whole and never split into lines. The boundaries of chunks make no difference.
"""

import re
from io import IncrementalNewlineDecoder

MAX_CRS = 16

_LINE_END = re.compile(rb"\r{0,%d}\n" % MAX_CRS)
BARE_CR = re.compile(rb"\r(?!\n)")


def has_bare_newline(text: bytes) -> bool:
    """Whether ``text`` has a bare CR or LF. The fastest way in CPython: see ``wire.dots``."""
    newlines = IncrementalNewlineDecoder(None, translate=False)
    newlines.decode(text.decode("latin-1"), final=True)
    return newlines.newlines not in (None, "\r\n")


class NewlineNormalizer:
    """Makes the line ends of an outgoing text CRLF.

    Another server could take a dot between bare line ends for the end of the message, and what follows it for
    commands (CVE-2023-51764). Messages that another program has stored may have such line ends.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Normalize ``data``. Returns the octets that are decided."""
        if self._held:
            data = self._held + data
            self._held = b""
        if data.endswith(b"\r"):
            crs = min(len(data) - len(data.rstrip(b"\r")), MAX_CRS)
            self._held = data[-crs:]
            data = data[:-crs]
        return _normalized(data)

    def finish(self) -> bytes:
        """The rest, at the end of the text. May be called again."""
        held, self._held = self._held, b""
        return _normalized(held) if held else b""


def _normalized(text: bytes) -> bytes:
    return BARE_CR.sub(b" ", _LINE_END.sub(b"\r\n", text)) if has_bare_newline(text) else text
