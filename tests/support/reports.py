"""Delivery reports of every kind, for the tests that read them with different parsers."""

import attrs

from mailserver.mail.address import Address
from mailserver.mail.report import delivery_report
from mailserver.mail.reported import Action, ReportedMessage, ReportedRecipient, ReportHead
from mailserver.mail.verdict import Status

HEADER = (
    b"Received: from a\r\n\tby b\r\nMessage-ID: <one@example.org>\r\n"
    b"Subject: hello\r\nFrom: erin@example.org\r\n"
)
BODY = b"Dear Bob,\r\n--=_1m8291p2p3504v4t--\r\n.\r\nYours, Erin\r\n"
RECEIVED, NOW = 1_700_000_000.0, 1_700_432_000.0
ERIN = Address("erin", "example.org")
HEAD = ReportHead(hostname="mail.example.org", id="1m8291p2p3504v4t", now=NOW, to=ERIN)
MESSAGE = ReportedMessage(id="1m81yw237y5dnr66", received=RECEIVED, content=HEADER)
WHOLE = attrs.evolve(MESSAGE, content=HEADER + b"\r\n" + BODY, whole=True)
FULL = ReportedRecipient(
    address="bob@example.org", action=Action.FAILED, status=Status(2, 2), text="the mailbox is full",
    expired=True, last_attempt=NOW,
)  # fmt: skip
UNKNOWN = ReportedRecipient(
    address="bob@elsewhere.example", action=Action.FAILED, status=Status(1, 1), text="rejected",
    host="mx.elsewhere.example", reply="550 5.1.1 <bob@elsewhere.example>: no such user", last_attempt=NOW,
    orcpt="rfc822;sales+2Bx@example.org",
)  # fmt: skip
LATE = attrs.evolve(
    UNKNOWN, action=Action.DELAYED, status=Status(4, 1), reply="", text="connection refused",
    host="2001:db8::1", retry_until=NOW + 86400,
)  # fmt: skip
RELAYED = attrs.evolve(UNKNOWN, action=Action.RELAYED, status=Status(0, 0), reply="250 2.0.0 Ok", text="")
DELIVERED = attrs.evolve(FULL, action=Action.DELIVERED, status=Status(1, 5), text="")
EXPANDED = attrs.evolve(DELIVERED, action=Action.EXPANDED, address="club@example.org")
GREEN = attrs.evolve(UNKNOWN, address="grün+x@elsewhere.example", orcpt="utf-8;gr\\x{FC}n@example.org")
GREEN_ERIN = attrs.evolve(HEAD, to=Address("érin", "example.org"))
GREEN_HEADER = "Subject: Grüße\r\nMessage-ID: <one@example.org>\r\n".encode()


def green(whole=False, charset="utf-8"):
    """A message with a header outside ASCII."""
    content = GREEN_HEADER.decode().encode(charset)
    if whole:
        content += b"\r\n" + "Grüße\r\n".encode(charset)
    return attrs.evolve(MESSAGE, content=content, whole=whole)


# By name: the report, the type of its second and of its third part.
STATUS, GLOBAL_STATUS = "message/delivery-status", "message/global-delivery-status"
RETURNED, GLOBAL_RETURNED = "text/rfc822-headers", "message/global-headers"
REPORTS = {
    "failed": (HEAD, MESSAGE, (FULL, UNKNOWN), STATUS, RETURNED),
    "whole": (HEAD, WHOLE, (FULL, UNKNOWN), STATUS, "message/rfc822"),
    "8-bit": (
        HEAD, attrs.evolve(WHOLE, content=WHOLE.content + b"\xff\xe9\r\n"), (FULL,), STATUS, "message/rfc822",
    ),
    "delayed": (HEAD, WHOLE, (LATE,), STATUS, RETURNED),
    "delivered": (HEAD, WHOLE, (DELIVERED, RELAYED, EXPANDED), STATUS, RETURNED),
    "postmaster": (
        attrs.evolve(HEAD, to=Address("postmaster", "example.org"), instead_of="<erin@example.org>"),
        MESSAGE, (UNKNOWN,), STATUS, RETURNED,
    ),
    "no header": (HEAD, attrs.evolve(MESSAGE, content=b"\r\nhello\r\n"), (FULL,), STATUS, RETURNED),
    "green recipient": (HEAD, green(), (GREEN,), STATUS, RETURNED),
    "green whole": (HEAD, green(whole=True), (GREEN,), STATUS, RETURNED),
    "latin header": (HEAD, green(charset="latin-1"), (GREEN,), STATUS, RETURNED),
    "green sender": (GREEN_ERIN, green(), (GREEN,), GLOBAL_STATUS, GLOBAL_RETURNED),
    "green sender, whole": (GREEN_ERIN, green(whole=True), (GREEN, FULL), GLOBAL_STATUS, "message/global"),
    "green sender, bare LF": (
        GREEN_ERIN, attrs.evolve(MESSAGE, content=b"X: a\nb\r\n" + GREEN_HEADER), (FULL,), STATUS, RETURNED,
    ),
    "green sender, latin whole": (
        GREEN_ERIN, green(whole=True, charset="latin-1"), (FULL,), STATUS, RETURNED,
    ),
    "green sender, latin header": (GREEN_ERIN, green(charset="latin-1"), (FULL,), STATUS, RETURNED),
    "bare CR": (
        HEAD, attrs.evolve(WHOLE, content=HEADER + b"\r\nbare\rCR\r\n"), (FULL,), STATUS, RETURNED,
    ),
    "long line": (
        HEAD, attrs.evolve(WHOLE, content=b"X: " + b"y " * 500 + b"\r\n" + HEADER + b"\r\n"), (FULL,), STATUS,
        RETURNED,
    ),
}  # fmt: skip


def made(name):
    """The octets of a report."""
    head, message, recipients, *_ = REPORTS[name]
    return delivery_report(head, message, recipients)
