"""Perl's Net::SMTP and Net::POP3 with TLS, which check the certificate; the script is in ``clients``."""

from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.programs import SCRIPTS, need_perl, run
from tests.support.e2e.secured import Account, Secured

MODULES = ("IO::Socket::SSL", "Authen::SASL")


def perl(
    home: Path,
    account: Account,
    protocol: str,
    tls: str,
    way: str,
    password: str = "",
    ca: Path | None = None,
    status: int | None = 0,
) -> tuple[bytes, str]:
    """What the script prints, and what it says; Perl may die with any status."""
    port = str(account.port("pop3" if protocol == "pop3" else "submission", tls))
    words = [protocol, tls, port, ca or account.ca, way, account.address, password or account.password]
    done = run(home, need_perl(*MODULES), SCRIPTS / "perl_login.pl", *words, status=status)
    return done.stdout, done.stderr.decode()


@pytest.mark.parametrize(
    ("tls", "way"),
    [("starttls", "user"), ("implicit", "user"), ("starttls", "apop"), ("implicit", "PLAIN")],
)
def test_net_pop3(tmp_path: Path, account: Account, tls: str, way: str) -> None:
    account.fill(MESSAGES["dots"])
    got, _ = perl(tmp_path, account, "pop3", tls, way)
    assert [unix(got)] == [unix(octets) for octets in account.messages()]


@pytest.mark.parametrize(("tls", "way"), [("starttls", "PLAIN"), ("implicit", "LOGIN")])
def test_net_smtp(tmp_path: Path, account: Account, tls: str, way: str) -> None:
    perl(tmp_path, account, "smtp", tls, way)
    [stored] = account.messages()
    assert stored.endswith(b"\r\n\r\n%s\r\n" % way.encode())


def test_wrong_password(tmp_path: Path, account: Account) -> None:
    assert "[AUTH]" in perl(tmp_path, account, "pop3", "implicit", "apop", "wrong", status=None)[1]
    assert "auth:" in perl(tmp_path, account, "smtp", "implicit", "PLAIN", "wrong", status=None)[1]


def test_certificate_is_checked(tmp_path: Path, account: Account, secured: Secured) -> None:
    other = secured.authority.issue("elsewhere.example").certificate
    _, said = perl(tmp_path, account, "pop3", "starttls", "user", ca=other, status=None)
    assert "certificate verify failed" in said
