"""Delivery reports (RFC 3464), in the form of RFC 6522.

    multipart/report; report-type=delivery-status
      text/plain                 for people
      message/delivery-status    for programs: one group of fields for the message, one for each recipient
      text/rfc822-headers        the header of the message, or
      message/rfc822             the whole message

All parts but a whole message are 7-bit; addresses outside ASCII have the form utf-8-addr-xtext. Only a report
to an address outside ASCII, which requires SMTPUTF8 anyway, has UTF-8 and the types of RFC 6533.

The message, the replies of other servers, and the parameters of clients are hostile: they cannot add a field
to the report, and every line is bounded.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from email.utils import formatdate

from mailserver.mail.handling import write_date
from mailserver.mail.report_words import MAX_DIAGNOSTIC, report_words, subject
from mailserver.mail.reported import Action, ReportedMessage, ReportedRecipient, ReportHead
from mailserver.mail.returned import MimePart, header_of, header_part, message_part, text_part
from mailserver.mail.trace import address_literal
from mailserver.mail.xtext import from_xtext, original_recipient, printable, to_utf8_xtext, visible

_FOLDED_LINE = 76  # characters
_MAX_LINE = 900  # characters of a field that is better not folded
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(<[!-;=?-~]{1,250}>)[ \t]*\r\n", re.IGNORECASE | re.MULTILINE)
_IP = re.compile(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def delivery_report(
    head: ReportHead, message: ReportedMessage, recipients: Sequence[ReportedRecipient]
) -> bytes:
    """The report about at least one recipient. The first one decides the subject."""
    utf8 = not str(head.to).isascii()
    header = header_of([message.content])
    whole = message.whole and any(each.action is Action.FAILED for each in recipients)
    returned = message_part(message.content, utf8=utf8) if whole else header_part(header, utf8=utf8)
    words = report_words(head, message, recipients, whole=returned.is_message)
    parts = (
        text_part("text/plain; charset=utf-8", _lines(words)),
        _status_part(head, message, recipients, utf8=utf8),
        returned,
    )
    encoding = "8bit" if any(part.encoding == "8bit" for part in parts) else "7bit"
    boundary = f"=_{head.id}"
    content = b"".join([part.octets for part in parts])
    while boundary.encode() in content:
        boundary += "_"
    fields = [
        f"From: Mail Delivery System <MAILER-DAEMON@{head.hostname}>",
        f"To: {head.to}",
        f"Subject: {subject(head, recipients[0].action)}",
        f"Date: {_date(head.now)}",
        f"Message-ID: <{head.id}@{head.hostname}>",
        *_references(header),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        f"Content-Transfer-Encoding: {encoding}",
        "",
    ]
    between = f"--{boundary}\r\n".encode()
    end = f"--{boundary}--\r\n".encode()
    return b"".join([_lines(fields), *(between + part.octets for part in parts), end])


def _references(header: bytes) -> Iterator[str]:
    """The fields that let a mail program show the report with the message (RFC 3834 section 3.1.6)."""
    found = _MESSAGE_ID.search(header)
    if found is not None:
        name = found[1].decode("ascii")
        yield f"In-Reply-To: {name}"
        yield f"References: {name}"


def _status_part(
    head: ReportHead, message: ReportedMessage, recipients: Sequence[ReportedRecipient], *, utf8: bool
) -> MimePart:
    lines = list(_message_fields(head, message))
    for each in recipients:
        lines += ["", *_recipient_fields(each, utf8=utf8)]
    content = _lines(lines)
    if content.isascii():
        return MimePart("message/delivery-status", "7bit", content)
    return MimePart("message/global-delivery-status", "8bit", content)


def _message_fields(head: ReportHead, message: ReportedMessage) -> Iterator[str]:
    """RFC 3464 section 2.2."""
    if message.envid:
        yield from _field("Original-Envelope-Id", from_xtext(message.envid))
    yield f"Reporting-MTA: dns; {head.hostname}"
    yield f"X-Queue-ID: {message.id}"
    yield f"Arrival-Date: {_date(message.received)}"
    if message.deliver_by is not None:
        yield f"Deliver-By-Date: {_date(message.deliver_by)}"  # RFC 2852
    if message.held_until is not None:
        yield f"Future-Release-Request: until; {write_date(message.held_until)}"  # RFC 4865


def _recipient_fields(each: ReportedRecipient, *, utf8: bool) -> Iterator[str]:
    """RFC 3464 section 2.3. ``utf8``: addresses may have UTF-8."""
    original = original_recipient(each.orcpt)
    if original is not None:
        yield from _field("Original-Recipient", f"{original[0]}; {original[1]}")
    if each.address.isascii():
        yield from _field("Final-Recipient", f"rfc822; {each.address}")
    elif utf8:
        yield f"Final-Recipient: utf-8; {visible(each.address)}"
    else:
        yield from _field("Final-Recipient", f"utf-8; {to_utf8_xtext(each.address)}")
    yield f"Action: {each.action.value}"
    yield f"Status: {each.action.status_class}.{each.status.subject}.{each.status.detail}"
    if each.host:
        host = address_literal(each.host) if _IP.fullmatch(each.host) else each.host
        yield from _field("Remote-MTA", f"dns; {host}")
    if each.reply:
        yield from _diagnostic(f"smtp; {each.reply}")
    elif each.text:
        yield from _diagnostic(f"X-mailserver; {each.text}")
    if each.last_attempt is not None:
        yield f"Last-Attempt-Date: {_date(each.last_attempt)}"
    if each.retry_until is not None:
        yield f"Will-Retry-Until: {_date(each.retry_until)}"


def _field(name: str, value: str) -> list[str]:
    """A field of printable ASCII. Only one that is longer than any reasonable address is folded."""
    return textwrap.wrap(f"{name}: {printable(value)}", _MAX_LINE, subsequent_indent=" ")


def _diagnostic(value: str) -> list[str]:
    """A field of printable ASCII, folded between words and cut off."""
    return textwrap.wrap(
        f"Diagnostic-Code: {printable(value)[:MAX_DIAGNOSTIC]}", _FOLDED_LINE, subsequent_indent=" ",
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _date(when: float) -> str:
    return formatdate(when, localtime=True)


def _lines(lines: Sequence[str]) -> bytes:
    return "\r\n".join([*lines, ""]).encode("utf-8", "replace")
