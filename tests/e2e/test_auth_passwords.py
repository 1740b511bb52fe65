"""Passwords with blanks and outside ASCII by every way that takes a password, and app passwords."""

import poplib
import smtplib
import unicodedata
from base64 import b64encode
from typing import Literal

import pytest

from tests.support.e2e.commands import done
from tests.support.e2e.secured import Account, Secured


def encoded(text: str) -> bytes:
    return b64encode(text.encode())


Form = Literal["NFC", "NFD"]


@pytest.fixture
def utf8(secured: Secured) -> Account:
    return secured.utf8()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_pop3_user(utf8: Account, form: Form) -> None:
    """SASLprep makes the two ways to write an umlaut one (RFC 4013)."""
    with utf8.connect("pop3", "implicit") as session:
        session.expect(b"USER " + utf8.address.encode(), b"+OK")
        session.expect(b"PASS " + unicodedata.normalize(form, utf8.password).encode(), b"+OK")


def test_blanks_are_part_of_it(utf8: Account) -> None:
    with utf8.connect("pop3", "implicit") as session:
        for wrong in (utf8.password.strip(), utf8.password.lower(), utf8.password + " "):
            assert session.login(utf8.address, wrong).startswith(b"-ERR"), wrong


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_plain_and_login(utf8: Account, form: Form) -> None:
    password = unicodedata.normalize(form, utf8.password)
    with utf8.connect("submission", "implicit") as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"AUTH PLAIN " + encoded(f"\0{utf8.address}\0{password}"), b"235")
    with utf8.connect("submission", "implicit") as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"AUTH LOGIN " + encoded(utf8.address), b"334")
        session.expect(encoded(password), b"235")


def test_apop(utf8: Account) -> None:
    client = poplib.POP3_SSL(*utf8.server.address("pop3", "implicit"), context=utf8.context)
    client.encoding = "UTF-8"
    assert client.apop(utf8.address, utf8.password).startswith(b"+OK")
    client.quit()


@pytest.mark.parametrize("kind", ["account", "hashed"])
def test_a_blank_in_the_middle(request: pytest.FixtureRequest, kind: str) -> None:
    account: Account = request.getfixturevalue(kind)
    assert " " in account.password
    with account.connect("pop3", "starttls") as session:
        assert session.login(account.address, account.password).startswith(b"+OK")
    with account.connect("pop3", "starttls") as session:
        assert session.login(account.address, account.password.replace(" ", "")).startswith(b"-ERR")


# ------------------------------------------------------------ app passwords


def logs_in(account: Account, password: str) -> bool:
    """By POP3 and by SMTP, which agree."""
    with account.connect("pop3", "implicit") as session:
        reader = session.login(account.address, password).startswith(b"+OK")
    with smtplib.SMTP_SSL(
        *account.server.address("submission", "implicit"), context=account.context
    ) as client:
        client.ehlo()
        sender = client.docmd("AUTH PLAIN", encoded(f"\0{account.address}\0{password}").decode())[0] == 235
    assert reader == sender
    return reader


def test_app_passwords(secured: Secured) -> None:
    account = secured.named("kept", "the main one")
    done(account.server, f"account add {account.address}", f"{account.password}\n")
    assert logs_in(account, account.password)
    phone = done(account.server, f"account app-password add {account.address} phone")
    for password in (account.password, phone, phone.replace("-", " "), phone.upper()):
        assert logs_in(account, password), password
    done(account.server, f"account app-password revoke {account.address} phone")
    assert logs_in(account, account.password)
    assert not logs_in(account, phone)
