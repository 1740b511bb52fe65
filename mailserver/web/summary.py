"""The header fields of a message that a list shows, read without parsing the whole message.

A mailbox has many messages: this takes some microseconds for each, and the package ``email`` hundreds.
"""

import re
from email.header import decode_header
from typing import Any

import attrs

from mailserver.mail import links, mime

HEAD = 64 * 1024  # octets of a header that are read
_FIELD = re.compile(rb"^(from|to|cc|subject|date)[ \t]*:[ \t]*((?:[^\r\n]|\r?\n[ \t])*)", re.I | re.M)
_FOLD = re.compile(r"\r?\n(?=[ \t])")


@attrs.frozen
class MessageSummary:
    """The fields, decoded; "" for one that is missing."""

    fields: dict[str, str]

    @classmethod
    def of(cls, octets: bytes) -> "MessageSummary":
        """Read the beginning of a message."""
        end = re.search(rb"\r?\n\r?\n", octets[:HEAD])
        head = octets[: end.start() if end is not None else HEAD]
        found: dict[str, str] = {}
        for name, value in _FIELD.findall(head):
            key = name.decode().lower()
            decoded = _decoded(value)
            if key not in found:
                found[key] = decoded
            elif key in ("to", "cc"):
                found[key] += f", {decoded}"
        return cls(found)

    def field(self, name: str) -> str:
        """A field by its name in lower case."""
        return self.fields.get(name, "")


def _decoded(octets: bytes) -> str:
    text = mime.attempt(octets.decode, lambda: octets.decode("latin-1"))
    text = _FOLD.sub("", text).strip()
    if "=?" in text:
        text = mime.attempt(lambda: _words(text), lambda: text)
    return mime.clean(text)


def _words(text: str) -> str:
    """Decode encoded words (RFC 2047)."""
    # Any: the type of decode_header is not exact.
    parts: list[tuple[Any, str | None]] = decode_header(text)
    return "".join(
        part if isinstance(part, str) else part.decode(charset or "latin-1", "replace")
        for part, charset in parts
    )


def searched_text(octets: bytes) -> str:
    """All texts of a message that a reader sees. Blocks."""
    found = []
    for part in mime.leaves(mime.parse(octets)):
        if mime.is_shown(part):
            text = mime.text(part)
            found.append(links.Page(text).text if mime.content_type(part) == "text/html" else text)
    return "\n".join(found)
