"""Addresses outside ASCII with real programs: smtplib and curl send, poplib and curl read."""

import poplib
import smtplib
import unicodedata
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.clients import curl, curl_login, swaks
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration

ZOE = "zo\N{LATIN SMALL LETTER E WITH DIAERESIS}"
DECOMPOSED = unicodedata.normalize("NFD", ZOE)
IVAN = "\u0438\u0432\u0430\u043d"
DOMAIN = "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example"
A_LABEL = "xn--bcher-kva.example"
TABLES = f"""
[catch_all]
"{DOMAIN}" = "{IVAN}"
[[alias]]
address = "info@{DOMAIN}"
to = ["{DECOMPOSED.upper()}"]
"""


@pytest.fixture
def server(make_server: Makes) -> Server:
    text = configuration(accounts=["alice", ZOE, IVAN], tables=TABLES)
    return make_server(
        text.replace('domains = ["example.org"]', f'domains = ["example.org", "{DOMAIN}"]')
    ).start()


def message(to: str) -> EmailMessage:
    found = EmailMessage()
    found["From"], found["To"], found["Subject"] = f"{IVAN}@example.net", to, IVAN
    found.set_content(f"{IVAN}\n", cte="8bit")
    return found


@pytest.mark.parametrize(
    ("to", "name", "delivered_to"),
    [
        (f"{ZOE}@example.org", ZOE, f"{ZOE}@example.org"),
        (f"{DECOMPOSED.upper()}+news@example.org", ZOE, f"{DECOMPOSED.upper()}+news@example.org"),
        (f"info@{DOMAIN}", ZOE, f"info@{A_LABEL}"),
        (f"Info@{unicodedata.normalize('NFD', DOMAIN).upper()}", ZOE, f"Info@{A_LABEL}"),
        (f"{IVAN.upper()}@example.org", IVAN, f"{IVAN.upper()}@example.org"),
        (f"{ZOE}@{A_LABEL}", IVAN, f"{ZOE}@{A_LABEL}"),
    ],
)
def test_smtplib(server: Server, to: str, name: str, delivered_to: str) -> None:
    sent = message(to)
    with smtplib.SMTP(*server.smtp) as client:
        client.send_message(sent, from_addr=f"{IVAN}@example.net", to_addrs=[to])
    [stored] = Mailbox(server, name).messages()
    head, _, rest = stored.partition(b"From: ")
    assert b"From: " + rest == sent.as_bytes(policy=policy.SMTPUTF8)
    fields = dict(line.split(": ", 1) for line in head.decode().replace("\r\n\t", " ").splitlines())
    assert fields["Return-Path"] == f"<{IVAN}@example.net>"
    assert fields["Delivered-To"] == delivered_to
    assert " with UTF8SMTP id " in fields["Received"] and fields["Received"].isascii()


@pytest.mark.parametrize("to", ["\u0430lice", "\uff41lice", "al\u0131ce", "b\u00f6b", IVAN[:-1]])
def test_look_alikes_are_unknown(server: Server, to: str) -> None:
    with smtplib.SMTP(*server.smtp) as client:
        client.ehlo()
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail("a@b.example", [f"{to}@example.org"], b"x\r\n", mail_options=["SMTPUTF8"])
    assert [code for code, _ in refused.value.recipients.values()] == [550]


def test_a_login_by_any_spelling(server: Server) -> None:
    for name in (ZOE, DECOMPOSED, ZOE.upper(), f"{DECOMPOSED}@example.org", f"{ZOE}@EXAMPLE.org"):
        with Pop3(server.pop3) as session:
            assert session.login(name, PASSWORD).startswith(b"+OK"), name
            session.expect(b"QUIT", b"+OK")
    client = poplib.POP3(*server.pop3)
    client.encoding = "utf-8"
    client.user(IVAN)
    assert client.pass_(PASSWORD).startswith(b"+OK")
    client.quit()


def test_curl(tmp_path: Path, server: Server) -> None:
    """It sends SMTPUTF8 by itself, and A-labels. An unknown recipient does not keep the others from the
    message."""
    zoe = Mailbox(server, ZOE)
    file = tmp_path / "message"
    file.write_bytes(MESSAGES["plain"])
    mail = ["--mail-from", SENDER, "--upload-file", str(file), "--mail-rcpt-allowfails"]
    for recipient in ("nobody@example.org", zoe.address, f"info@{DOMAIN}"):
        mail += ["--mail-rcpt", recipient]
    curl(tmp_path, zoe, "smtp", "", "client.example", *mail).check(0)
    assert [original(stored) for stored in zoe.messages()] == [MESSAGES["plain"]]
    ran = curl(tmp_path, zoe, "pop3", "", "1", *curl_login(zoe, "plain"))
    ran.check(0)
    assert ran.got == zoe.messages()


def test_swaks_without_smtputf8(tmp_path: Path, server: Server) -> None:
    """The client does not use SMTPUTF8. The reply says that it must."""
    ran = swaks(tmp_path, Mailbox(server, ZOE), "", "", sender=SENDER)
    assert "553 5.6.7" in ran.said
    assert "550 5.6.7" in swaks(tmp_path, Mailbox(server, "alice"), "", "", sender=f"{ZOE}@b.example").said
