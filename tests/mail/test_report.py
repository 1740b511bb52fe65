"""Delivery reports as Python's email package reads them: RFC 3464 in RFC 6522, and RFC 6533 beyond ASCII."""

import re
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime

import pytest

from mailserver.mail.address import Address
from mailserver.mail.report import FailedRecipient, failure_report, header_of
from mailserver.mail.verdict import Status

TO = Address("erin", "example.org")
HEADER = b"Received: from a\r\n\tby b\r\nSubject: hello\r\nFrom: erin@example.org\r\n"
RECEIVED, NOW = 1_700_000_000.0, 1_700_432_000.0
FULL = FailedRecipient("bob@example.org", Status(2, 2), "the mailbox is full")


def report(*failed, to=TO, header=HEADER):
    return failure_report(
        hostname="mail.example.org",
        to=to,
        id="1m8291p2p3504v4t",
        message_id="1m81yw237y5dnr66",
        received=RECEIVED,
        now=NOW,
        failed=failed or (FULL,),
        header=header,
    )


def parsed(data):
    message = message_from_bytes(data, policy=policy.SMTP)
    assert not [defect for part in message.walk() for defect in part.defects]
    return message


def test_the_message():
    message = parsed(report())
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    assert message["MIME-Version"] == "1.0"
    assert message["Auto-Submitted"] == "auto-replied"  # RFC 3834 section 5
    assert message["To"] == "erin@example.org"
    (author,) = message["From"].addresses
    assert (author.addr_spec, author.display_name) == (
        "MAILER-DAEMON@mail.example.org",
        "Mail Delivery System",
    )
    assert message["Message-ID"] == "<1m8291p2p3504v4t@mail.example.org>"
    assert parsedate_to_datetime(message["Date"]).timestamp() == NOW
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    # What the queue adds is not here: there is no reverse-path but that of the envelope.
    assert "Return-Path" not in message


def test_for_people():
    text, _, _ = parsed(
        report(FULL, FailedRecipient("both@example.org", Status(2, 2), "no room"))
    ).iter_parts()
    assert text.get_content_charset("us-ascii") in ("us-ascii", "utf-8")
    words = text.get_content()
    assert "bob@example.org: the mailbox is full" in words
    assert "both@example.org: no room" in words
    assert "mail.example.org" in words


def test_for_programs():
    """RFC 3464 sections 2.2 and 2.3: the fields that must be there, each once."""
    second = FailedRecipient("both@example.org", Status(0, 0), "no room")
    _, status, _ = parsed(report(FULL, second)).iter_parts()
    message, *recipients = status.get_payload()
    assert message.keys() == ["Reporting-MTA", "X-Queue-ID", "Arrival-Date"]
    assert message["Reporting-MTA"] == "dns; mail.example.org"
    assert message["X-Queue-ID"] == "1m81yw237y5dnr66"
    assert parsedate_to_datetime(message["Arrival-Date"]).timestamp() == RECEIVED
    assert [one.items() for one in recipients] == [
        [
            ("Final-Recipient", f"rfc822; {failed.recipient}"),
            ("Action", "failed"),
            ("Status", status),
            ("Diagnostic-Code", f"X-mailserver; {failed.reason}"),
        ]
        for failed, status in ((FULL, "5.2.2"), (second, "5.0.0"))
    ]


def test_the_header_comes_back():
    _, _, header = parsed(report()).iter_parts()
    assert header.get_payload(decode=True) == HEADER


@pytest.mark.parametrize("header", [b"", HEADER, b"Subject: x\r\n" * 5000])
@pytest.mark.parametrize("number", [1, 3, 100])
def test_ascii_is_7bit(header, number):
    """RFC 3464 registers message/delivery-status with 7bit; RFC 6522 section 3 wants it of the whole."""
    data = report(*[FULL] * number, header=header)
    assert data.isascii()
    assert {part.get("Content-Transfer-Encoding", "7bit") for part in parsed(data).walk()} == {"7bit"}
    assert data.endswith(b"\r\n")
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    _, status, returned = parsed(data).iter_parts()
    assert len(status.get_payload()) == 1 + number
    assert returned.get_payload(decode=True) == header


GREEN = FailedRecipient("grün@example.org", Status(2, 2), "the mailbox is full")


@pytest.mark.parametrize(
    ("failed", "to", "header", "types"),
    [
        (GREEN, TO, HEADER, ["text/plain", "message/global-delivery-status", "text/rfc822-headers"]),
        (
            FULL,
            TO,
            "Subject: Grüße\r\n".encode(),
            ["text/plain", "message/delivery-status", "message/global-headers"],
        ),
        (FULL, Address("grün", "example.org"), HEADER, None),
    ],
)
def test_beyond_ascii(failed, to, header, types):
    """RFC 6533: what is not ASCII is UTF-8, and says so."""
    data = report(failed, to=to, header=header)
    data.decode("utf-8")
    message = message_from_bytes(data, policy=policy.SMTPUTF8)
    assert message["Content-Transfer-Encoding"] in ("8bit", "7bit")
    parts = re.split(rb"\r\n--=?[^\r\n]*1m8291p2p3504v4t[^\r\n]*\r\n", data)
    for part in parts[1:4]:
        fields, _, body = part.partition(b"\r\n\r\n")
        if not body.isascii():
            assert b"Content-Transfer-Encoding: 8bit" in fields
    if types:
        assert [part.get_content_type() for part in message.iter_parts()] == types
    if failed is GREEN:
        text = next(message.iter_parts())
        assert text.get_content_charset() == "utf-8" and "grün@example.org" in text.get_content()
        assert "Final-Recipient: utf-8; grün@example.org".encode() in data


def test_no_boundary_inside():
    """A message that a report was made from may be a report, even one of ours."""
    inner = report()
    _, _, header = parsed(report(header=header_of([inner]))).iter_parts()
    assert header.get_payload(decode=True) == header_of([inner])


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (b"", b""),
        (b"Subject: x\r\n\r\nbody\r\n", b"Subject: x\r\n"),
        (b"\r\nbody\r\n\r\nmore", b""),
        (b"Subject: x\r\n", b"Subject: x\r\n"),
        (b"no line end", b""),
        (b"Subject: x\r\nTo: y\r\n\r\n", b"Subject: x\r\nTo: y\r\n"),
        (b"A: 1\r\n" * 100 + b"\r\nbody", b"A: 1\r\n" * 10),
        (b"A: 1\r\nB: " + b"x" * 100 + b"\r\n\r\n", b"A: 1\r\n"),
        (b"x" * 100 + b"\r\n\r\n", b""),
    ],
)
def test_header_of(content, header):
    """At most so many octets of whole lines, here 64."""
    assert header_of([content], 64) == header
    assert header_of([bytes([octet]) for octet in content], 64) == header
