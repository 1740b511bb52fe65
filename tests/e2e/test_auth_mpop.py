"""mpop with TLS, which checks the certificate, and each of its ways to log in."""

from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.clients import TLS, mpop
from tests.support.e2e.secured import Account, Secured

PASSWORD_MECHANISMS = ("user", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "apop")
MECHANISMS = (*PASSWORD_MECHANISMS, "external", "oauthbearer", "xoauth2")
UNAVAILABLE, NO_PERMISSION = 69, 77  # of sysexits.h


@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_login(tmp_path: Path, account: Account, tls: str, mechanism: str) -> None:
    account.fill(MESSAGES["plain"], MESSAGES["dots"])
    said, got = mpop(tmp_path, account, tls, mechanism)
    verb = {"user": "USER ", "apop": "APOP "}.get(mechanism, f"AUTH {mechanism.upper()}")
    assert f"--> {verb}" in said
    assert got == sorted(unix(octets) for octets in account.messages())


def test_apop_without_tls(tmp_path: Path, account: Account) -> None:
    """No password is sent, so that it may come in the clear."""
    account.fill(MESSAGES["plain"])
    _, got = mpop(tmp_path, account, "starttls", "apop", "tls off")
    assert len(got) == 1


@pytest.mark.parametrize("mechanism", [*PASSWORD_MECHANISMS, "oauthbearer", "xoauth2"])
def test_wrong_password(tmp_path: Path, account: Account, secured: Secured, mechanism: str) -> None:
    """A token of somebody else is as wrong as a password."""
    wrong = secured.account().token() if mechanism in ("oauthbearer", "xoauth2") else "wrong"
    said, _ = mpop(tmp_path, account, "starttls", mechanism, password=wrong, status=NO_PERMISSION)
    assert "-ERR [AUTH] wrong user name or password" in said


@pytest.mark.parametrize("mechanism", ["digest-md5", "ntlm"])
def test_mechanisms_that_there_are_not(tmp_path: Path, account: Account, mechanism: str) -> None:
    said, _ = mpop(tmp_path, account, "starttls", mechanism, status=UNAVAILABLE)
    assert "does not support authentication method" in said


def test_hashed_password(tmp_path: Path, hashed: Account) -> None:
    hashed.fill(MESSAGES["plain"])
    assert len(mpop(tmp_path, hashed, "starttls", "plain")[1]) == 1
    assert len(mpop(tmp_path, hashed, "starttls", "user")[1]) == 1
    # what these want cannot be computed from a hash
    for mechanism in ("apop", "cram-md5", "scram-sha-256"):
        mpop(tmp_path, hashed, "starttls", mechanism, status=NO_PERMISSION)
