"""mpop with TLS, which checks the certificate, and each of its ways to log in."""

from pathlib import Path

import pytest

from .corpus import MESSAGES, unix
from .programs import need, run
from .secured import Account, Secured

TLS = {"starttls": "on", "implicit": "off"}
PASSWORD_MECHANISMS = ("user", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "apop")
MECHANISMS = (*PASSWORD_MECHANISMS, "external", "oauthbearer", "xoauth2")
UNAVAILABLE, NO_PERMISSION = 69, 77  # of sysexits.h


def mpop(
    home: Path, account: Account, tls: str, mechanism: str, *more: str, password: str = "", status: int = 0
) -> tuple[str, list[bytes]]:
    """Fetch; what mpop says, and the messages it has by now. ``more`` are settings."""
    folder = home / "Maildir"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    if mechanism in ("oauthbearer", "xoauth2"):
        password = password or account.token()
    settings = [
        "account default",
        "host 127.0.0.1",
        f"port {account.port('pop3', tls)}",
        f"user {account.address}",
        f'password "{password or account.password}"',
        f"auth {mechanism}",
        f"tls {'off' if 'tls off' in more else 'on'}",
        f"tls_starttls {TLS[tls]}",
        f"tls_trust_file {account.ca}",
        "received_header off",
        f"uidls_file {home}/uidls",
        f"delivery maildir {folder}",
        *more,
    ]
    if mechanism == "external":
        shown = account.certificate()
        settings += [f"tls_cert_file {shown.certificate}", f"tls_key_file {shown.private_key}"]
    file = home / "mpoprc"
    file.write_text("\n".join([*settings, ""]))
    file.chmod(0o600)
    done = run(home, need("mpop"), f"--file={file}", "--debug", "--keep=on", status=status)
    said = (done.stdout + done.stderr).decode(errors="replace")
    return said, sorted(one.read_bytes() for one in (folder / "new").iterdir())


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
