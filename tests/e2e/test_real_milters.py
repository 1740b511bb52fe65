"""Rspamd, ClamAV, OpenDKIM and libmilter as filters of the server."""

import base64
import hashlib
import json
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.e2e.limited import LISTEN, credentials
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.milters import VIRUS, clamav, libmilter, opendkim, rspamd
from tests.support.e2e.server import Makes, Server, configuration

GTUBE = "{}JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
MESSAGE = (
    b"From: a@far.example\r\nTo: alice@example.org\r\nSubject:  hello\r\nMessage-ID: <1@far.example>\r\n"
    b"X-Twice: one\r\nX-Twice: two\r\n\tfolded\r\nDate: Mon, 30 Nov 2026 18:28:06 +0000\r\n\r\n%b\r\n"
)


def server_with(make_server: Makes, *milters: str, **options: Any) -> Server:
    names = ", ".join(f'"{milter}"' for milter in milters)
    tables = (
        f"[smtp]\nplaintext_auth = true\n[relay]\nnetworks = []\n[policy]\nexempt = []\nmilter = [{names}]\n"
    )
    return make_server(configuration(listen=LISTEN, tables=tables, **options)).start()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for a socket (unix(7): 108 octets)."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def client(make_server: Makes, short: Any) -> Iterator[smtplib.SMTP]:
    with libmilter(short) as filter:
        server = server_with(make_server, filter)
        with smtplib.SMTP(*server.smtp, local_hostname="client.example") as session:
            yield session


def header(message: bytes) -> bytes:
    """The header below the trace fields, and what stands above them."""
    return message.partition(b"\r\n\r\n")[0]


def test_rspamd(make_server: Makes, short: Any) -> None:
    with rspamd(short) as filter:
        server = server_with(make_server, filter)
        with smtplib.SMTP(*server.smtp) as session:
            for pattern in ("", GTUBE.format("Y"), GTUBE.format("Z")):
                session.sendmail("a@far.example", ["alice@example.org"], MESSAGE % pattern.encode())
            with pytest.raises(smtplib.SMTPDataError) as error:
                session.sendmail("a@far.example", ["alice@example.org"], MESSAGE % GTUBE.format("X").encode())
            assert error.value.args == (554, b"5.7.1 Gtube pattern")
            session.sendmail("a@far.example", ["alice@example.org"], MESSAGE % b"again")
    clean, spam, renamed, again = Mailbox(server, "alice").messages()
    sent = MESSAGE.partition(b"\r\n\r\n")[0]
    assert header(clean).endswith(sent) and header(again).endswith(sent)
    assert header(spam).endswith(sent + b"\r\nX-Spam: Yes")
    assert header(renamed).endswith(sent.replace(b" hello", b"***SPAM*** hello"))
    assert server.log.count("header changed by mail filters: ") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "code", "kept"),
    [("Quarantine", 250, 1), ("Reject", 550, 0), ("Blackhole", 250, 0), ("Defer", 451, 0)],
)
def test_clamav(make_server: Makes, short: Any, action: str, code: int, kept: int) -> None:
    with clamav(short, action) as filter:
        server = server_with(make_server, filter)
        with smtplib.SMTP(*server.smtp) as session:
            session.ehlo()
            for text, expected in ((b"harmless", 250), (VIRUS, code)):
                session.mail("a@far.example")
                session.rcpt("alice@example.org")
                assert session.data(MESSAGE % text)[0] == expected
    (clean,) = Mailbox(server, "alice").messages()
    assert b"\r\nX-Virus-Status: Clean\r\n\r\nharmless" in clean
    quarantine = server.data / "mail/example.org/quarantine/new"
    found = [file.read_bytes() for file in quarantine.iterdir()] if quarantine.exists() else []
    assert [VIRUS in octets and b"X-Quarantine-Reason: " in octets for octets in found] == [True] * kept
    assert server.log.count("MessageDiscarded") == (action == "Blackhole")


@pytest.mark.slow
def test_opendkim_signs_what_another_filter_has_changed(make_server: Makes, short: Any) -> None:
    folders = [short / name for name in ("libmilter", "opendkim")]
    for folder in folders:
        folder.mkdir()
    with libmilter(folders[0]) as first, opendkim(folders[1]) as second:
        server = server_with(make_server, first, second)
        with smtplib.SMTP(*server.address("submission")) as session:
            session.ehlo()
            session.docmd("AUTH PLAIN " + credentials("alice").decode())
            session.sendmail(
                "alice@example.org",
                ["carol@example.org"],
                MESSAGE.replace(b"a@far.example", b"alice@example.org", 1) % b"text",
            )
    (message,) = Mailbox(server, "carol").messages()
    assert message.index(b"\r\nX-Below: ") and b"\r\nSubject: changed\r\n" in message
    public = _public_key(folders[1] / "s1.private")
    signature = message[message.index(b"DKIM-Signature: ") :]
    assert dkim.verify(signature, dnsfunc=lambda *_, **__: b"v=DKIM1; k=rsa; p=" + public)
    broken = signature.replace(b"Subject: changed", b"Subject: other")
    assert not dkim.verify(broken, dnsfunc=lambda *_, **__: b"v=DKIM1; k=rsa; p=" + public)


def _public_key(path: Any) -> bytes:
    key = serialization.load_pem_private_key(path.read_bytes(), None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_bytes(serialization.Encoding.DER, form))


@pytest.mark.slow
def test_what_libmilter_sees(make_server: Makes, short: Any) -> None:
    body = b"".join(b"%064d\r\n" % number for number in range(150_000))
    with libmilter(short) as filter:
        server = server_with(make_server, filter)
        with smtplib.SMTP(*server.smtp, local_hostname="client.example") as session:
            for kind, content in (("fine", b"text"), ("slow", body)):
                refused = session.sendmail(
                    f"{kind}@far.example",
                    ["alice@example.org", "bob@example.org"],
                    MESSAGE % content,
                    mail_options=["BODY=8BITMIME"],
                    rcpt_options=["NOTIFY=NEVER"],
                )
                assert refused == {
                    "bob@example.org": (
                        451,
                        b"4.7.1 deferred by a mail filter; please try again later",
                    )
                }
    for message, (kind, content) in zip(
        Mailbox(server, "alice").messages(), (("fine", b"text"), ("slow", body)), strict=True
    ):
        head, _, rest = message.partition(b"\r\n\r\n")
        assert rest == content + b"\r\n"
        (text,) = re.findall(rb"X-Seen: ([^\r]*(?:\r\n\t[^\r]*)*)", head)
        seen = json.loads(text.replace(b"\r\n\t", b" "))
        assert seen.pop("id").encode() in message
        size = len(MESSAGE % content)
        assert seen == {
            "client": "[127.0.0.1]",
            "address": "127.0.0.1",
            "j": "mail.example.org",
            "helo": "client.example",
            "mail": [f"<{kind}@far.example>", f"SIZE={size}", "BODY=8BITMIME"],
            "rcpt": [["<alice@example.org>", "NOTIFY=NEVER"]],
            "fields": [
                ["From", "a@far.example"],
                ["To", "alice@example.org"],
                ["Subject", " hello"],
                ["Message-ID", "<1@far.example>"],
                ["X-Twice", "one"],
                ["X-Twice", "two\n\tfolded"],
                ["Date", "Mon, 30 Nov 2026 18:28:06 +0000"],
            ],
            "size": len(content) + 2,
            "sha256": hashlib.sha256(content + b"\r\n").hexdigest(),
        }
        below = head[head.index(b"X-Below: ") : head.index(b"X-Seen: ")]
        assert (
            below
            == b"X-Below: below the trace\r\n"
            + MESSAGE.partition(b"\r\n\r\n")[0]
            .replace(b"Subject:  hello", b"Subject: changed")
            .replace(b"X-Twice: two\r\n\tfolded\r\n", b"")
            + b"\r\n"
        )
        assert head.index(b"X-Top: above all\r\n") < head.index(b"Received: ") < head.index(b"X-Below: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sender", "code", "text"),
    [
        ("reject-at-mail", 554, b"5.7.9 not from you, 100% sure"),
        ("reject", 550, b"5.7.1 first line\n5.7.1 second line"),
        ("later", 452, b"4.3.1 no room for that"),
    ],
)
def test_rejections_of_libmilter(client: smtplib.SMTP, sender: str, code: int, text: bytes) -> None:
    for _ in range(2):
        with pytest.raises((smtplib.SMTPSenderRefused, smtplib.SMTPDataError)) as error:
            client.sendmail(f"{sender}@far.example", ["alice@example.org"], MESSAGE % b"text")
        assert error.value.args[:2] == (code, text)
    assert not client.sendmail("fine@far.example", ["alice@example.org"], MESSAGE % b"text")
    # After 421 the server closes the connection.
    for step, argument in ((client.mail, "leave@far.example"), (client.rcpt, "alice@example.org")):
        assert step(argument)[0] == 250
    assert client.data(MESSAGE % b"text") == (421, b"4.3.2 going home")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()


@pytest.mark.slow
def test_dropped_and_kept_aside(make_server: Makes, short: Any) -> None:
    with libmilter(short) as filter:
        server = server_with(make_server, filter)
        with smtplib.SMTP(*server.smtp) as session:
            for kind in ("drop", "aside", "fine"):
                assert not session.sendmail(f"{kind}@far.example", ["alice@example.org"], MESSAGE % b"text")
    (message,) = Mailbox(server, "alice").messages()
    assert message.startswith(b"Return-Path: <fine@far.example>")
    (kept,) = (server.data / "mail/example.org/quarantine/new").iterdir()
    octets = kept.read_bytes()
    assert b"X-Quarantine-Reason: looks like a virus (policy.milter[1])\r\n" in octets
    assert b"Subject: changed\r\n" in octets
    assert "discarded: <drop@far.example> to <alice@example.org> (client 127.0.0.1, policy.milter[1])" in (
        server.log
    )
