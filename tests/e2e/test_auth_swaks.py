"""swaks with TLS, which checks the certificate; each of its mechanisms; and who may send as whom."""

from pathlib import Path

import pytest

from tests.support.e2e.programs import need, need_perl, run
from tests.support.e2e.secured import Account, Secured

TLS = {"starttls": "--tls", "implicit": "--tls-on-connect"}
NO_AUTH = 28
SENDER_REFUSED = 23
TLS_FAILED = 29


def swaks(home: Path, account: Account, tls: str, *options: str, status: int = 0) -> str:
    """Submit a message from the account to itself; the transcript."""
    need_perl("IO::Socket::SSL")
    command = [need("swaks"), "--server", "127.0.0.1", "--port", str(account.port("submission", tls))]
    checked = [TLS[tls], "--tls-verify", "--tls-ca-path", account.ca, "--to", account.address]
    sender = [] if "--from" in options else ["--from", account.address]
    done = run(home, *command, *checked, *sender, *options, status=status)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def login(account: Account, mechanism: str, password: str = "") -> list[str]:
    """The options for a login by ``mechanism``."""
    return ["--auth", mechanism, "-au", account.address, "-ap", password or account.password]


@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_login(tmp_path: Path, account: Account, tls: str, mechanism: str) -> None:
    said = swaks(tmp_path, account, tls, *login(account, mechanism), "--body", "by swaks")
    assert f" ~> AUTH {mechanism}" in said
    assert "<~  235 2.7.0" in said
    [stored] = account.messages()
    assert b"by swaks" in stored
    assert b" with ESMTPSA id " in stored


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_wrong_password(tmp_path: Path, account: Account, mechanism: str) -> None:
    said = swaks(tmp_path, account, "starttls", *login(account, mechanism, "wrong"), status=NO_AUTH)
    assert "<~* 535 5.7.8" in said


@pytest.mark.parametrize("mechanism", ["DIGEST-MD5", "CRAM-SHA1"])
def test_mechanisms_that_there_are_not(tmp_path: Path, account: Account, mechanism: str) -> None:
    need_perl("Authen::SASL")
    said = swaks(tmp_path, account, "implicit", *login(account, mechanism), status=NO_AUTH)
    assert "235" not in said


def test_foreign_sender(tmp_path: Path, account: Account, secured: Secured) -> None:
    foreign = ["--from", secured.account().address]
    said = swaks(tmp_path, account, "starttls", *login(account, "PLAIN"), *foreign, status=SENDER_REFUSED)
    assert "<~* 553 5.7.1" in said


def test_without_login(tmp_path: Path, account: Account) -> None:
    assert "<~* 530 5.7.0" in swaks(tmp_path, account, "implicit", status=SENDER_REFUSED)


def test_a_certificate_that_it_does_not_trust(tmp_path: Path, account: Account, secured: Secured) -> None:
    own = secured.authority.issue("elsewhere.example").certificate
    options = ["--tls-ca-path", str(own), *login(account, "PLAIN")]
    said = swaks(tmp_path, account, "starttls", *options, status=TLS_FAILED)
    assert "~> AUTH" not in said
