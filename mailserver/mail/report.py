"""Bounces: reports about undeliverable mail (RFC 3464, in the form of RFC 6522).

    multipart/report; report-type=delivery-status
      text/plain                 for people
      message/delivery-status    for programs: one group of fields for the message, one for each recipient
      text/rfc822-headers        the header of the message

ASCII parts are 7-bit. Parts with other characters have the types of RFC 6533:
message/global-delivery-status with addresses of type utf-8, and message/global-headers.
"""

from collections.abc import Iterable
from email.utils import formatdate

import attrs

from mailserver.mail.address import Address
from mailserver.mail.verdict import Status

HEADER = 65536  # maximum octets of the header in a bounce


@attrs.frozen
class FailedRecipient:
    """A failed recipient, with the reason as a permanent status (RFC 3463) and as text."""

    recipient: str
    status: Status
    reason: str


def failure_report(
    *,
    hostname: str,
    to: Address,
    id: str,
    message_id: str,
    received: float,
    now: float,
    failed: tuple[FailedRecipient, ...],
    header: bytes,
) -> bytes:
    """The bounce for the message with the id ``message_id``. ``id`` is the id of the bounce itself.

    Times are seconds since the epoch. ``header`` is the header of the message, with CRLF line ends.
    """
    boundary = f"=_{id}"
    text = [
        f"This is the mail system at {hostname}.",
        "",
        f"Your message, accepted on {formatdate(received, localtime=True)},",
        "could not be delivered to:",
        "",
        *(f"    {one.recipient}: {one.reason}" for one in failed),
        "",
        "No further attempts will be made. The header of the message is below.",
    ]
    status = [
        f"Reporting-MTA: dns; {hostname}",
        f"X-Queue-ID: {message_id}",
        f"Arrival-Date: {formatdate(received, localtime=True)}",
    ]
    for one in failed:
        status += [
            "",
            f"Final-Recipient: {'rfc822' if one.recipient.isascii() else 'utf-8'}; {one.recipient}",
            "Action: failed",
            f"Status: 5.{one.status.subject}.{one.status.detail}",
            f"Diagnostic-Code: X-mailserver; {one.reason}",
        ]
    parts = [
        _part("text/plain", "text/plain; charset=utf-8", _lines(text)),
        _part("message/delivery-status", "message/global-delivery-status", _lines(status)),
        _part("text/rfc822-headers", "message/global-headers", header),
    ]
    fields = [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: {to}",
        "Subject: Undelivered mail",
        f"Date: {formatdate(now, localtime=True)}",
        f"Message-ID: <{id}@{hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        f"Content-Transfer-Encoding: {_encoding(b''.join(parts))}",
        "",
        "",
    ]
    between = f"--{boundary}\r\n".encode()
    return (
        "\r\n".join(fields).encode() + b"".join(between + part for part in parts) + between[:-2] + b"--\r\n"
    )


def _part(ascii_type: str, other_type: str, content: bytes) -> bytes:
    kind = ascii_type if content.isascii() else other_type
    fields = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {_encoding(content)}\r\n\r\n"
    return fields.encode() + content + b"\r\n"


def _lines(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, ""]).encode("utf-8", "surrogateescape")


def _encoding(content: bytes) -> str:
    return "7bit" if content.isascii() else "8bit"


def header_of(chunks: Iterable[bytes], limit: int = HEADER) -> bytes:
    """The header of a message that comes in pieces, in whole lines, at most ``limit`` octets."""
    content = b""
    for chunk in chunks:
        content += chunk
        if len(content) >= limit:
            break
    end = content.find(b"\r\n\r\n", 0, limit)
    if content.startswith(b"\r\n"):
        return b""
    if end >= 0:
        return content[: end + 2]
    return content[: content.rfind(b"\r\n", 0, limit) + 2] if b"\r\n" in content[:limit] else b""
