"""Messages as objects for JSON."""

from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

from mailserver.mail import mime
from mailserver.web.mailboxes import FoundMessage, MessagePage

JsonObject = dict[str, Any]
MOST_TEXT = 1 << 20  # characters of a text in JSON


def moment(seconds: float) -> str:
    """The time in the form of RFC 3339, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def summary_view(found: FoundMessage) -> JsonObject:
    """A message of a list."""
    fields = found.summary.fields
    return {
        "id": str(found.id),
        "mailbox": str(found.id.mailbox),
        "uid": found.id.uid,
        "size": found.octets,
        "received": moment(found.arrived),
        **{name: fields.get(name, "") for name in ("from", "to", "subject", "date")},
    }


def page_view(page: MessagePage) -> JsonObject:
    """A part of a list."""
    return {
        "messages": [summary_view(each) for each in page.messages],
        "total": page.total,
        "next": page.following or None,
    }


def message_view(found: FoundMessage, octets: bytes) -> JsonObject:
    """A message with its header, its texts and a list of its parts. Computes."""
    message = mime.parse(octets)
    parts = list(mime.leaves(message))
    return {
        **summary_view(found),
        "headers": [{"name": mime.clean(name), "value": value} for name, value in _fields(message)],
        "text": _first(parts, "text/plain"),
        "html": _first(parts, "text/html"),
        "parts": [part_view(number, part) for number, part in enumerate(parts, 1)],
    }


def part_view(number: int, part: EmailMessage) -> JsonObject:
    """A part of a message."""
    return {
        "number": number,
        "content_type": mime.content_type(part),
        "filename": mime.name(part),
        "size": len(mime.data(part)),
        "is_attachment": not mime.is_shown(part),
    }


def _first(parts: list[EmailMessage], content_type: str) -> str:
    shown = (part for part in parts if mime.is_shown(part) and mime.content_type(part) == content_type)
    return next(map(mime.text, shown), "")[:MOST_TEXT]


def _fields(message: EmailMessage) -> list[tuple[str, str]]:
    return [(name, mime.clean(_decoded(message, name, value))) for name, value in message.raw_items()]


def _decoded(message: EmailMessage, name: str, value: Any) -> str:
    # Any: the policy of a message has no exact type.
    policy: Any = message.policy
    return mime.attempt(lambda: str(policy.header_fetch_parse(name, value)), lambda: str(value))
