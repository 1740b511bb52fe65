"""The ports for people with an account: who may send what, and what becomes of a message on its way in."""

import email
import email.utils
import re
import smtplib
import time
from collections.abc import Iterator
from email.message import Message

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.mailbox import SENDER
from tests.support.e2e.secured import Account, Secured

BARE = b"Subject: bare\r\nTo: undisclosed-recipients:;\r\n\r\nhello\r\n"
BLIND = (
    b"Subject: blind\r\nBcc: secret@example.org,\r\n\tanother@example.org\r\nTo: a@example.org\r\n"
    b"\r\nBcc: body\r\n"
)
OPTIONS = """
[submission]
senders = "any"
hide_client = true
remove_bcc = true
"""


def connect(account: Account, tls: str) -> smtplib.SMTP:
    address = account.server.address("submission", tls)
    if tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(*address, "client.example", context=account.context)
    else:
        client = smtplib.SMTP(*address, "client.example")
        client.starttls(context=account.context)
    return client


def log_in(account: Account, tls: str = "implicit") -> smtplib.SMTP:
    client = connect(account, tls)
    client.login(account.address, account.password, initial_response_ok=False)
    return client


def received(stored: bytes) -> tuple[Message, str]:
    """The message, and its Received field on one line."""
    message = email.message_from_bytes(stored)
    return message, " ".join(message["Received"].split())


@pytest.fixture(scope="module")
def other_rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server where [submission] says the opposite of its defaults."""
    secured = Secured(tmp_path_factory.mktemp("submission"), OPTIONS)
    try:
        secured.server.start()
        yield secured
    finally:
        secured.server.finish()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_date_and_message_id_are_added(account: Account, tls: str) -> None:
    with log_in(account, tls) as client:
        client.sendmail(account.address, [account.address], BARE)
    [stored] = account.messages()
    message, trace = received(stored)
    when = email.utils.parsedate_to_datetime(message["Date"])
    assert abs(when.timestamp() - time.time()) < 60
    [queue_id] = re.findall(r" id (\S+)", trace)
    assert message["Message-ID"] == f"<{queue_id}@mail.example.org>"
    assert stored.endswith(b"\r\n\r\nhello\r\n")


def test_what_is_there_stays(account: Account) -> None:
    with log_in(account) as client:
        for octets in MESSAGES.values():
            client.sendmail(account.address, [account.address], octets)
        client.sendmail(
            account.address, [account.address], b"date: whenever\r\nMESSAGE-ID: none\r\n\r\n.\r\n"
        )
        client.sendmail(account.address, [account.address], BLIND)
    *whole, odd, blind = (original(stored) for stored in account.messages())
    assert whole == list(MESSAGES.values())
    assert odd == b"date: whenever\r\nMESSAGE-ID: none\r\n\r\n.\r\n"
    assert b"\r\nBcc: secret@example.org,\r\n\tanother@example.org\r\n" in blind


@pytest.mark.parametrize("secure", [False, True])
def test_port_25_adds_nothing(account: Account, secure: bool) -> None:
    """Nor does it for somebody who logs in there."""
    with smtplib.SMTP(*account.server.address("smtp", "starttls")) as client:
        if secure:
            client.starttls(context=account.context)
            client.login(account.address, account.password)
        client.sendmail(account.address, [account.address], BARE)
    assert [original(stored) for stored in account.messages()] == [BARE]


@pytest.mark.parametrize(
    ("tls", "login", "protocol"), [(False, False, "ESMTP"), (True, False, "ESMTPS"), (True, True, "ESMTPSA")]
)
def test_received_tells_the_protocol_and_the_tls(
    account: Account, tls: bool, login: bool, protocol: str
) -> None:
    with smtplib.SMTP(*account.server.address("smtp", "starttls"), "client.example") as client:
        if tls:
            client.starttls(context=account.context)
        if login:
            client.login(account.address, account.password)
        client.sendmail(account.address, [account.address], BARE)
    [stored] = account.messages()
    _, trace = received(stored)
    assert trace.startswith("from client.example ([127.0.0.1]) by mail.example.org with")
    assert f" with {protocol} id " in trace
    assert ("(TLSv1.3 with TLS_AES_256_GCM_SHA384)" in trace) == tls


def test_nothing_goes_without_a_login(account: Account) -> None:
    for tls in ("starttls", "implicit"):
        with connect(account, tls) as client:
            client.ehlo()
            for command in ("MAIL FROM:<>", f"MAIL FROM:<{account.address}>", "VRFY postmaster", "EXPN club"):
                assert client.docmd(command)[0] == 530, command
            assert client.noop()[0] == 250
            assert client.rset()[0] == 250
            assert client.docmd("HELP")[0] == 214


def test_own_addresses(secured: Secured) -> None:
    owner, other = secured.owner(), secured.account()
    with log_in(owner) as client:
        for own in (owner.address, owner.address.upper(), "sales@example.org", owner.name):
            assert client.docmd(f"MAIL FROM:<{own}>")[0] == 250, own
            client.rset()
        for foreign in (other.address, other.name, SENDER, "nobody@example.org", "owner@elsewhere.example"):
            code, text = client.docmd(f"MAIL FROM:<{foreign}>")
            assert (code, text[:5]) == (553, b"5.7.1"), foreign
    with log_in(other) as client:
        assert client.docmd("MAIL FROM:<sales@example.org>")[0] == 553


def test_reports_have_no_sender(account: Account) -> None:
    """RFC 5321 section 4.5.5: a mail user agent sends dispositions with the null reverse-path."""
    with log_in(account) as client:
        assert client.docmd("MAIL FROM:<>")[0] == 250


def test_other_rules(other_rules: Secured) -> None:
    account = other_rules.account()
    with log_in(account) as client:
        client.sendmail(SENDER, [account.address], BLIND)
    [stored] = account.messages()
    message, trace = received(stored)
    assert message["Return-Path"] == f"<{SENDER}>"
    assert trace.startswith("from mail.example.org by mail.example.org with ESMTPSA id ")
    assert b"127.0.0.1" not in stored
    assert "Bcc" not in message
    assert message["To"] == "a@example.org"
    assert stored.endswith(b"\r\n\r\nBcc: body\r\n")


def test_port_25_does_not_hide_anybody(other_rules: Secured) -> None:
    account = other_rules.account()
    with smtplib.SMTP(*account.server.address("smtp", "starttls"), "client.example") as client:
        client.sendmail(SENDER, [account.address], BLIND)
    [stored] = account.messages()
    assert original(stored) == BLIND
    assert received(stored)[1].startswith("from client.example ([127.0.0.1]) by ")


def test_a_message_of_many_pieces(account: Account) -> None:
    """The head in pieces, over TLS records of one octet; the body is large."""
    body = b"x" * 76 + b"\r\n"
    with log_in(account) as client:
        assert client.sock is not None
        client.mail(account.address)
        client.rcpt(account.address)
        client.docmd("DATA")
        for position in range(len(BARE)):
            client.sock.sendall(BARE[position : position + 1])
        client.sock.sendall(body * 20_000 + b".\r\n")
        assert client.getreply()[0] == 250
    [stored] = account.messages()
    assert stored.endswith(BARE.partition(b"\r\n\r\n")[2] + body * 20_000)
    assert b"\r\nMessage-ID: <" in stored[:2000]
