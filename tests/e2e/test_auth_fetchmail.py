"""fetchmail with STLS and with implicit TLS, which checks the certificate; APOP, and AUTH CRAM-MD5."""

from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.clients import TLS, fetchmail
from tests.support.e2e.secured import Account, Secured

WRONG_PASSWORD = 3
SSL_FAILED = 2


@pytest.mark.parametrize(
    ("tls", "way", "command"),
    [
        ("starttls", "protocol pop3 auth password", "USER "),
        ("implicit", "protocol pop3 auth password", "USER "),
        ("starttls", "protocol pop3 auth cram-md5", "AUTH CRAM-MD5"),
        ("implicit", "protocol apop", "APOP "),
    ],
)
def test_login(tmp_path: Path, account: Account, tls: str, way: str, command: str) -> None:
    account.fill(MESSAGES["plain"], MESSAGES["dots"])
    said, got = fetchmail(tmp_path, account, tls, way)
    assert f"POP3> {command}" in said
    assert ("POP3> STLS" in said) == (tls == "starttls")
    assert got == [unix(octets) for octets in account.messages()]


def test_hashed_password(tmp_path: Path, hashed: Account) -> None:
    hashed.fill(MESSAGES["plain"])
    assert len(fetchmail(tmp_path, hashed, "starttls", "protocol pop3 auth password")[1]) == 1


def test_apop_without_tls(tmp_path: Path, account: Account) -> None:
    """No password is sent, so that it may come in the clear; with APOP fetchmail never asks for STLS."""
    account.fill(MESSAGES["plain"])
    said, got = fetchmail(tmp_path, account, "starttls", "protocol apop")
    assert "STLS" not in said
    assert len(got) == 1


def test_no_password_in_the_clear(tmp_path: Path, account: Account) -> None:
    way, tls = "protocol pop3 auth password", 'sslproto ""'
    said, _ = fetchmail(tmp_path, account, "starttls", way, tls, status=WRONG_PASSWORD)
    assert "POP3> PASS" not in said


@pytest.mark.parametrize("way", ["protocol pop3 auth password", "protocol apop"])
def test_wrong_password(tmp_path: Path, account: Account, way: str) -> None:
    said, _ = fetchmail(tmp_path, account, "implicit", way, password="wrong", status=WRONG_PASSWORD)
    assert "-ERR [AUTH] wrong user name or password" in said


@pytest.mark.parametrize("tls", TLS)
def test_certificate_is_checked(tmp_path: Path, account: Account, secured: Secured, tls: str) -> None:
    other = secured.authority.issue("elsewhere.example").certificate
    said, _ = fetchmail(tmp_path, account, tls, ca=other, status=None)
    assert "certificate verify failed" in said
    assert "POP3> USER" not in said
