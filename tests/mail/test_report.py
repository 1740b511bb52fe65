"""Delivery reports as Python's email package reads them: RFC 3464 in RFC 6522, and RFC 6533 beyond ASCII."""

import re
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.report import delivery_report
from mailserver.mail.report_words import duration
from mailserver.mail.reported import Action
from mailserver.mail.returned import header_of, is_returned_whole, message_part
from mailserver.mail.verdict import Status
from mailserver.mail.xtext import (
    ascii_orcpt,
    from_xtext,
    is_original_recipient,
    original_recipient,
    to_utf8_xtext,
    to_xtext,
)
from tests.support.reports import (
    BODY,
    FULL,
    GREEN_ERIN,
    GREEN_HEADER,
    HEAD,
    HEADER,
    LATE,
    MESSAGE,
    NOW,
    RECEIVED,
    REPORTS,
    UNKNOWN,
    WHOLE,
    made,
)


def parsed(data, rules=policy.SMTPUTF8 + policy.strict):
    """The report, and its three parts, parsed strictly unless the returned message is hostile."""
    message = message_from_bytes(data, policy=rules)
    text, status, returned = message.iter_parts()
    for part in (message, text, status, returned, *status.walk()):
        assert not part.defects
    return message, text, status, returned


def report(*recipients, message=MESSAGE, **head):
    return parsed(delivery_report(attrs.evolve(HEAD, **head), message, recipients or (FULL,)))


def words_of(text):
    """The part for people, as one line."""
    return " ".join(text.get_content().split())


def groups(status):
    """The groups of fields of a delivery status: of the message first, then of each recipient."""
    return [dict(group.items()) for group in status.get_payload()]


@pytest.mark.parametrize("name", REPORTS)
def test_every_kind(name):
    _, _, recipients, status_type, returned_type = REPORTS[name]
    data = made(name)
    message, text, status, returned = parsed(data)
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    types = [part.get_content_type() for part in (text, status, returned)]
    assert types == ["text/plain", status_type, returned_type]
    # Mail lines, and 7-bit if it is said to be.
    assert data.endswith(b"\r\n")
    assert b"\n" not in data.replace(b"\r\n", b"") and b"\r" not in data.replace(b"\r\n", b"")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    encodings = {part.get("Content-Transfer-Encoding") for part in (text, status, returned)}
    assert message["Content-Transfer-Encoding"] == ("8bit" if "8bit" in encodings else "7bit")
    if name != "8-bit" and not name.startswith("green sender"):
        assert data.isascii()
    for part in re.split(rb"\r\n--=_[^\r\n]*", data)[1:4]:
        fields, _, body = part.partition(b"\r\n\r\n")
        assert body.isascii() or b"Content-Transfer-Encoding: 8bit" in fields
    if status_type == "message/delivery-status":
        assert len(status.get_payload()) == 1 + len(recipients)
    for each in recipients:
        assert f"<{each.address}>" in words_of(text)
    assert all(len(line) <= 80 for line in text.get_content().splitlines())


def test_the_message():
    message, *_ = report()
    assert message["MIME-Version"] == "1.0"
    assert message["Auto-Submitted"] == "auto-replied"  # RFC 3834 section 5
    assert message["To"] == "erin@example.org"
    assert message["Subject"] == "Undelivered mail"
    (author,) = message["From"].addresses
    assert (author.addr_spec, author.display_name) == (
        "MAILER-DAEMON@mail.example.org",
        "Mail Delivery System",
    )
    assert message["Message-ID"] == "<1m8291p2p3504v4t@mail.example.org>"
    assert message["In-Reply-To"] == message["References"] == "<one@example.org>"
    assert parsedate_to_datetime(message["Date"]).timestamp() == NOW
    # What the queue adds is not here: there is no reverse-path but that of the envelope.
    assert "Return-Path" not in message


@pytest.mark.parametrize(
    "field", [b"", b"Message-ID: one\r\n", b"Message-ID: <a>\r\n\tX: y\r\n", b"Message-ID: <a b>\r\n",
              b"X-Message-ID: <a>\r\n", b"Message-ID: <" + b"a" * 251 + b">\r\n"],
)  # fmt: skip
def test_no_references(field):
    message, *_ = report(message=attrs.evolve(MESSAGE, content=field + b"X: y\r\n"))
    expected = "<a>" if b"\tX" in field else None
    assert (message["In-Reply-To"], message["X"]) == (expected, None)


def test_for_programs():
    """RFC 3464 sections 2.2 and 2.3: the fields, in their order, each once."""
    envid = attrs.evolve(MESSAGE, envid="QQ+2B314+3D")
    _, _, status, _ = report(UNKNOWN, FULL, LATE, message=envid)
    message, unknown, full, late = groups(status)
    assert list(message) == ["Original-Envelope-Id", "Reporting-MTA", "X-Queue-ID", "Arrival-Date"]
    assert message["Original-Envelope-Id"] == "QQ+314="
    assert message["Reporting-MTA"] == "dns; mail.example.org"
    assert message["X-Queue-ID"] == "1m81yw237y5dnr66"
    assert parsedate_to_datetime(message["Arrival-Date"]).timestamp() == RECEIVED
    assert parsedate_to_datetime(unknown.pop("Last-Attempt-Date")).timestamp() == NOW
    assert list(unknown.items()) == [
        ("Original-Recipient", "rfc822; sales+x@example.org"),
        ("Final-Recipient", "rfc822; bob@elsewhere.example"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; mx.elsewhere.example"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 <bob@elsewhere.example>: no such user"),
    ]
    assert list(full) == ["Final-Recipient", "Action", "Status", "Diagnostic-Code", "Last-Attempt-Date"]
    assert full["Diagnostic-Code"] == "X-mailserver; the mailbox is full"
    assert (late["Action"], late["Status"]) == ("delayed", "4.4.1")
    assert late["Remote-MTA"] == "dns; [IPv6:2001:db8::1]"
    assert parsedate_to_datetime(late["Will-Retry-Until"]).timestamp() == NOW + 86400


@pytest.mark.parametrize(
    ("action", "subject", "status", "words"),
    [
        (Action.FAILED, "Undelivered mail", "5.2.2", "could not be delivered"),
        (Action.DELAYED, "Delayed mail: the server keeps trying", "4.2.2", "need not send"),
        (Action.DELIVERED, "Delivered mail", "2.2.2", "has been delivered"),
        (Action.RELAYED, "Delivered mail", "2.2.2", "passed on"),
        (Action.EXPANDED, "Delivered mail", "2.2.2", "sent on from there"),
    ],
)
def test_actions(action, subject, status, words):
    message, text, fields, returned = report(attrs.evolve(FULL, action=action), message=WHOLE)
    recipient = groups(fields)[1]
    assert (message["Subject"], recipient["Action"], recipient["Status"]) == (subject, action.value, status)
    assert words in words_of(text)
    # Only a failure returns more than the header (RFC 3461 section 4.3).
    failed = action is Action.FAILED
    assert returned.get_content_type() == ("message/rfc822" if failed else "text/rfc822-headers")
    assert f"The {'message' if failed else 'header of the message'} is attached." in text.get_content()


@pytest.mark.parametrize(
    ("recipient", "words"),
    [
        (FULL, "The recipient's mailbox is full. This server has tried for 5 days. What you can do: Ask"),
        (FULL, "Reason: the mailbox is full"),
        (UNKNOWN, "the recipient is unknown. What you can do: Check the address for typing errors."),
        (UNKNOWN, "Answer of mx.elsewhere.example: 550 5.1.1 <bob@elsewhere.example>: no such user"),
        (attrs.evolve(UNKNOWN, status=Status(7, 1)), "refused by a rule of the receiving server, for"),
        (attrs.evolve(UNKNOWN, status=Status(1, 2)), "There is no such domain: the host of the address"),
        (attrs.evolve(UNKNOWN, status=Status(1, 99)), "The recipient's address is not accepted."),
        (attrs.evolve(UNKNOWN, status=Status(0, 0)), "has given no reason"),
        (LATE, "The receiving server does not answer. This server keeps trying until"),
    ],
)  # fmt: skip
def test_for_people(recipient, words):
    _, text, _, _ = report(recipient)
    assert words in words_of(text)
    assert words_of(text).startswith(
        "This is the mail system at mail.example.org. Your message, accepted on "
    )


def test_postmaster_copy():
    message, text, _, _ = parsed(made("postmaster"))
    assert message["Subject"] == "Postmaster copy: Undelivered mail"
    assert "as the postmaster" in words_of(text) and "<erin@example.org>" in words_of(text)


def test_what_comes_back():
    assert parsed(made("failed"))[3].get_payload(decode=True) == HEADER
    assert "charset" not in parsed(made("failed"))[3]["Content-Type"].params
    _, _, _, whole = parsed(made("whole"))
    assert whole["Content-Transfer-Encoding"] == "7bit"
    inner = whole.get_payload(0)
    assert inner["Subject"] == "hello"
    assert inner.get_payload(decode=True) == BODY  # though the boundary is in it
    assert GREEN_HEADER in made("green sender")
    for name in ("green recipient", "green whole"):
        assert parsed(made(name))[3].get_payload(decode=True) == GREEN_HEADER
    assert parsed(made("latin header"))[3].get_payload(decode=True) == GREEN_HEADER.decode().encode("latin-1")
    assert b"\xff\xe9\r\n" in made("8-bit")


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b"x" * 998 + b"\r\n", True),
        (b"x" * 999 + b"\r\n", False),
        (b"\0", False),
        (b"a\rb", False),
        (b"a\nb", False),
    ],
)
def test_a_message_that_is_no_mail_does_not_come_back_whole(body, whole):
    part = message_part(HEADER + b"\r\n" + body, utf8=False)
    assert part.is_message is whole


def test_beyond_ascii():
    """RFC 6533: in UTF-8 if the addressee is, else in 7 bits."""
    recipient = groups(parsed(made("green recipient"))[2])[1]
    assert recipient["Final-Recipient"] == "utf-8; gr\\x{FC}n\\x{2B}x@elsewhere.example"
    assert recipient["Original-Recipient"] == "utf-8; gr\\x{FC}n@example.org"
    data = made("green sender")
    assert "Final-Recipient: utf-8; grün+x@elsewhere.example\r\n".encode() in data
    assert "To: érin@example.org\r\n".encode() in data
    hostile = attrs.evolve(FULL, address="grün\r\nX: y@example.org")
    assert b"\nX: " not in delivery_report(GREEN_ERIN, MESSAGE, [hostile])


# ------------------------------------------------------------ hostile values

ANY = st.text(max_size=2000) | st.text("a \r\n:;<>=+-é\0\u2028", max_size=200)


CONTENTS = st.binary(max_size=300) | st.lists(
    st.sampled_from(
        [b"\r\n", b"\r", b"\n", b"\0", b"a", b"\xc3\xa9", b"\xff", b"y" * 999, b"--=_1m8291p2p3504v4t"]
    )
).map(b"".join)
KNOWN = {
    "Original-Envelope-Id", "Reporting-MTA", "X-Queue-ID", "Arrival-Date", "Original-Recipient",
    "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date",
}  # fmt: skip


@given(ANY, ANY, ANY, ANY, ANY, CONTENTS, st.booleans(), st.sampled_from(Action))
def test_hostile(address, reply, host, orcpt, envid, content, whole, action):
    """Nothing adds a field or a part, nothing breaks a line."""
    bad = attrs.evolve(
        UNKNOWN, address=address, reply=reply, host=host, text=reply, orcpt=orcpt, action=action
    )
    message = attrs.evolve(MESSAGE, content=content, whole=whole, envid=envid)
    for recipient in (bad, attrs.evolve(bad, reply="")):
        data = delivery_report(HEAD, message, (recipient, FULL))
        outer, text, status, _ = parsed(data, policy.SMTPUTF8)
        assert outer.keys()[:3] == ["From", "To", "Subject"]
        assert max(map(len, data.split(b"\r\n"))) <= 998
        assert b"\n" not in data.replace(b"\r\n", b"") and b"\r" not in data.replace(b"\r\n", b"")
        assert data.isascii() or outer["Content-Transfer-Encoding"] == "8bit"
        of_message, *of_recipients = status.get_payload()
        assert len(of_recipients) == 2
        for group in (of_message, *of_recipients):
            assert KNOWN.issuperset(group.keys()) and len(set(group.keys())) == len(group.keys())
            assert not group.get_payload()
        assert len(text.get_content()) < 8000
        for part in (text.get_content(), status.as_string()):
            assert part.replace("\r", "").replace("\n", "").isprintable()


def test_a_long_reply_is_cut_off_and_folded():
    _, text, status, _ = report(attrs.evolve(UNKNOWN, reply="550 " + "no " * 100_000))
    assert len(groups(status)[1]["Diagnostic-Code"]) <= 900
    assert len(text.get_content()) < 3000


@pytest.mark.parametrize(
    ("orcpt", "result"),
    [
        ("rfc822;bob@example.org", ("rfc822", "bob@example.org")),
        ("RFC822;+62ob+0D+0Ax+C3+A9", ("rfc822", "bob??x??")),
        ("utf-8;gr\\x{FC}n@x", ("utf-8", "gr\\x{FC}n@x")),
        ("utf-8;a\0@x", ("utf-8", "a?@x")),
        ("utf-8;grün@x", ("utf-8", "gr\\x{FC}n@x")),
        ("utf-8;gr\\x{FC}n\\x{3D}ö@x", ("utf-8", "gr\\x{FC}n\\x{3D}\\x{F6}@x")),
        ("x400;/c=us/", ("x400", "/c=us/")),
        ("", None), ("rfc822", None), ("rfc822;", None), (";x", None), ("a b;x", None), ("a\r\nb;x", None),
    ],
)  # fmt: skip
def test_original_recipient(orcpt, result):
    assert original_recipient(orcpt) == result


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
def test_every_address_has_a_form_of_orcpt(text):
    encoded = f"utf-8;{to_utf8_xtext(text)}"
    assert is_original_recipient(encoded)
    mixed = "".join([char if char > "\x7f" else to_utf8_xtext(char) for char in text])
    assert is_original_recipient(f"UTF-8;{mixed}") and ascii_orcpt(f"utf-8;{mixed}") == encoded


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext(text):
    encoded = to_xtext(text)
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", encoded)  # RFC 3461 section 4
    assert from_xtext(encoded) == text


@given(st.text(st.characters(codec="utf-8")))
def test_utf8_xtext(text):
    """RFC 6533 section 3."""
    encoded = to_utf8_xtext(text)
    assert re.fullmatch(
        r"(?:[!-*,-<>-\[\]-~]|\\x\{(?:[0-9A-F]{2}|[1-9A-F][0-9A-F]{2,4}|10[0-9A-F]{4})\})*", encoded
    )
    assert re.sub(r"\\x\{(.*?)\}", lambda match: chr(int(match[1], 16)), encoded) == text


@pytest.mark.parametrize(
    ("ret", "octets", "whole"),
    [
        ("", 4096, True),
        ("", 100_000, False),
        ("HDRS", 10, False),
        ("hdrs", 10, False),
        ("FULL", 100_000, True),
        ("full", 100_000, True),
        ("FULL", 10_000_000, False),
    ],
)
def test_ret(ret, octets, whole):
    assert is_returned_whole(ret, octets) is whole


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 minute"), (600, "10 minutes"), (7200, "2 hours"), (100_000, "28 hours"), (432_000, "5 days")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


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
