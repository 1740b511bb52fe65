"""Reads the parts of a message, whatever its octets are.

The package ``email`` of the standard library raises many exceptions for malformed messages. Here every
function returns something for every message: an unknown charset is read as UTF-8 or Latin-1, a multipart
without a boundary is text, and a message that cannot be parsed has its header fields and one part.

UTF-8 in header fields is read as text (RFC 6532).
"""

import re
from collections.abc import Callable, Iterator
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

_SURROGATE = re.compile("[\ud800-\udfff]")


@attrs.frozen
class Attachment:
    """A part of a message that is not a text shown in place; the ``filename`` is empty if it has none."""

    filename: str
    content_type: str
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} octets>")


class _Policy(policy.EmailPolicy):
    """The default policy, with UTF-8 in header fields."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        try:
            return name, value.encode("ascii", "surrogateescape").decode()
        except UnicodeDecodeError:
            return name, value


# refold_source: a message written out again has its header fields as they came
_POLICY: Any = _Policy(utf8=True, refold_source="none")
_AS_SENT = _POLICY.clone(linesep="\r\n")


def parse(raw: bytes) -> EmailMessage:
    """The message; if it cannot be parsed, its header fields with the rest as one string."""
    parser = BytesParser(EmailMessage, policy=_POLICY)
    return attempt(lambda: parser.parsebytes(raw), lambda: parser.parsebytes(raw, headersonly=True))


def octets_of(message: bytes | str | Message) -> bytes:
    """A message as octets. A text becomes UTF-8. Raises TypeError for anything else."""
    if isinstance(message, Message):
        return message.as_bytes()
    if isinstance(message, str):
        return message.encode()
    if isinstance(message, bytes):
        return message
    raise TypeError(f"a message is bytes, str or email.message.Message, not {type(message).__name__}")


def attempt(function: Callable[[], T], otherwise: Callable[[], T]) -> T:
    """The result of ``function``, or that of ``otherwise`` if it raises."""
    try:
        return function()
    except Exception:  # noqa: BLE001 - a test must be able to examine any message
        return otherwise()


def header(message: EmailMessage, name: str) -> str:
    """The first field ``name``, decoded; empty if there is none."""

    def raw() -> str:
        return next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")

    return clean(attempt(lambda: str(message[name] or ""), raw))


def clean(text: str) -> str:
    """The text on one or more lines that end in LF, without characters that cannot be printed in UTF-8."""
    return _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n"))


def leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that are no multipart, in order. An attached message is one part."""
    waiting: list[Any] = [message]
    while waiting:
        part = waiting.pop()
        if isinstance(part.get_payload(), list) and content_type(part).startswith("multipart/"):
            waiting += reversed(part.get_payload())
        else:
            yield part


def content_type(part: EmailMessage) -> str:
    """Type and subtype in lower case; a multipart that has no parts is plain text."""
    found = attempt(part.get_content_type, lambda: "text/plain")
    broken = found.startswith("multipart/") and not isinstance(part.get_payload(), list)
    return "text/plain" if broken else clean(found)


def is_shown(part: EmailMessage) -> bool:
    """Whether a mail program shows the part as text in place."""
    if content_type(part) not in ("text/plain", "text/html") or name(part):
        return False
    return attempt(part.get_content_disposition, lambda: None) != "attachment"


def name(part: EmailMessage) -> str:
    """The file name; empty if there is none."""
    return clean(attempt(part.get_filename, lambda: None) or "")


def text(part: EmailMessage) -> str:
    """The part as text, with LF as line ends."""
    octets = data(part)
    charset = attempt(part.get_content_charset, lambda: None) or "utf-8"
    return clean(attempt(lambda: octets.decode(charset), lambda: _utf8_or_latin1(octets)))


def _utf8_or_latin1(octets: bytes) -> str:
    return attempt(octets.decode, lambda: octets.decode("latin-1"))


def data(part: EmailMessage) -> bytes:
    """The octets of the part, without its transfer encoding."""
    inner: Any = part.get_payload()
    if isinstance(inner, list):  # an attached message
        return attempt(lambda: b"".join(one.as_bytes(policy=_AS_SENT) for one in inner), lambda: b"")
    found = attempt(lambda: part.get_payload(decode=True), lambda: None)
    return found if isinstance(found, bytes) else b""


def attachment(part: EmailMessage) -> Attachment:
    return Attachment(name(part), content_type(part), data(part))
