"""``gsasl``, the client of GNU SASL: SCRAM with the channel bindings of GnuTLS, and what few others speak."""

from pathlib import Path

import pytest

from tests.support.e2e.programs import need, run
from tests.support.e2e.secured import Account, Secured

TLS_12 = "--priority=NORMAL:-VERS-TLS1.3"
BINDINGS = {"tls-exporter": "--priority=NORMAL", "tls-unique": TLS_12}


def gsasl(
    home: Path, account: Account, mechanism: str, *options: str, password: str = "", status: int = 0
) -> str:
    """Log in to the port for submission; the dialogue. Without a mechanism it chooses one."""
    name = ["--authentication-id", account.address, "--password", password or account.password]
    port = account.port("submission", "starttls")
    command = [need("gsasl"), "--smtp", f"--connect=127.0.0.1:{port}", f"--x509-ca-file={account.ca}", *name]
    chosen = [f"--mechanism={mechanism}"] if mechanism else []
    done = run(home, *command, "--verbose", *chosen, *options, status=status)
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
@pytest.mark.parametrize("binding", BINDINGS)
def test_channel_binding(tmp_path: Path, account: Account, mechanism: str, binding: str) -> None:
    said = gsasl(tmp_path, account, mechanism, BINDINGS[binding])
    assert ("(TLS1.3)" in said) == (binding == "tls-exporter")
    assert f"AUTH {mechanism}\n" in said
    assert "235 2.7.0" in said
    assert "server trusted" in said  # by the server's signature


def test_it_takes_channel_binding_for_best(tmp_path: Path, account: Account) -> None:
    assert "AUTH SCRAM-SHA-256-PLUS\n" in gsasl(tmp_path, account, "")


@pytest.mark.parametrize(
    "options", [["SCRAM-SHA-256-PLUS"], ["SCRAM-SHA-256", "--no-cb"]], ids=lambda one: one[0]
)
def test_wrong_password(tmp_path: Path, account: Account, options: list[str]) -> None:
    assert "535 5.7.8" in gsasl(tmp_path, account, *options, password="wrong", status=1)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"])
def test_without_channel_binding(tmp_path: Path, account: Account, mechanism: str) -> None:
    assert "235 2.7.0" in gsasl(tmp_path, account, mechanism, "--no-cb")


def test_authorization_identity(tmp_path: Path, account: Account, secured: Secured) -> None:
    for mechanism in ("SCRAM-SHA-256", "PLAIN"):
        own, other = (f"--authorization-id={one.address}" for one in (account, secured.account()))
        assert "235 2.7.0" in gsasl(tmp_path, account, mechanism, "--no-cb", own)
        assert "535 5.7.8" in gsasl(tmp_path, account, mechanism, "--no-cb", other, status=1)


def test_external(tmp_path: Path, account: Account, secured: Secured) -> None:
    shown = account.certificate()
    files = f"--x509-cert-file={shown.certificate}", f"--x509-key-file={shown.private_key}"
    own, other = (f"--authorization-id={one.address}" for one in (account, secured.account()))
    assert "235 2.7.0" in gsasl(tmp_path, account, "EXTERNAL", *files, own)
    assert "535 5.7.8" in gsasl(tmp_path, account, "EXTERNAL", *files, other, status=1)


def test_anonymous(tmp_path: Path, account: Account) -> None:
    token = "--anonymous-token=somebody@client.example"
    assert "235 2.7.0" in gsasl(tmp_path, account, "ANONYMOUS", token)
