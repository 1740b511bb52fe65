"""msmtp with TLS, which checks the certificate, and each of its mechanisms."""

from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.clients import TLS, msmtp
from tests.support.e2e.secured import Account, Secured

PASSWORD_MECHANISMS = ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256")
MECHANISMS = (*PASSWORD_MECHANISMS, "external", "oauthbearer", "xoauth2")
UNAVAILABLE, NO_PERMISSION, DATA_ERROR = 69, 77, 65  # of sysexits.h


@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_login(tmp_path: Path, account: Account, tls: str, mechanism: str) -> None:
    said = msmtp(tmp_path, account, tls, mechanism)
    assert f"--> AUTH {mechanism.upper()}" in said
    [stored] = account.messages()
    assert original(stored) == MESSAGES["plain"]
    assert b" with ESMTPSA id " in stored


@pytest.mark.parametrize("mechanism", [*PASSWORD_MECHANISMS, "oauthbearer", "xoauth2"])
def test_wrong_password(tmp_path: Path, account: Account, secured: Secured, mechanism: str) -> None:
    """A token of somebody else is as wrong as a password."""
    wrong = secured.account().token() if mechanism in ("oauthbearer", "xoauth2") else "wrong"
    said = msmtp(tmp_path, account, "starttls", mechanism, wrong, status=NO_PERMISSION)
    assert "535" in said


@pytest.mark.parametrize("mechanism", ["digest-md5", "ntlm"])
def test_mechanisms_that_there_are_not(tmp_path: Path, account: Account, mechanism: str) -> None:
    said = msmtp(tmp_path, account, "starttls", mechanism, status=UNAVAILABLE)
    assert "does not support authentication method" in said


def test_it_chooses(tmp_path: Path, account: Account) -> None:
    msmtp(tmp_path, account, "starttls", "on")
    assert len(account.messages()) == 1


def test_a_hash_will_do_for_plain(tmp_path: Path, hashed: Account) -> None:
    msmtp(tmp_path, hashed, "implicit", "plain")
    assert len(hashed.messages()) == 1


def test_foreign_sender(tmp_path: Path, account: Account) -> None:
    foreign = "--from=somebody@example.org"
    assert "553 5.7.1" in msmtp(tmp_path, account, "starttls", "plain", "", foreign, status=DATA_ERROR)
    assert account.messages() == []


def test_certificate_is_checked(tmp_path: Path, account: Account, secured: Secured) -> None:
    other = f"--tls-trust-file={secured.authority.issue('elsewhere.example').certificate}"
    said = msmtp(tmp_path, account, "implicit", "plain", "", other, status=None)
    assert "TLS certificate verification failed" in said
    assert "AUTH" not in said
