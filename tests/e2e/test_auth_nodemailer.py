"""nodemailer with TLS, which checks the certificate, and each of its ways to log in."""

import json
from pathlib import Path
from typing import Any

from tests.support.e2e.programs import SCRIPTS, need, need_node_modules, run
from tests.support.e2e.secured import Account, Secured

PASSWORD_METHODS = ("PLAIN", "LOGIN", "CRAM-MD5")


def transport(account: Account, tls: str, method: str, password: str = "") -> dict[str, Any]:
    """What ``createTransport`` takes."""
    auth = {"user": account.address, "pass": password or account.password}
    if method == "XOAUTH2":
        auth = {"type": "OAuth2", "user": account.address, "accessToken": password or account.token()}
    return {
        "host": "127.0.0.1",
        "port": account.port("submission", tls),
        "secure": tls == "implicit",
        "requireTLS": tls == "starttls",
        "tls": {"ca": account.ca.read_text()},
        "auth": auth,
        "authMethod": method,
    }


def send(home: Path, account: Account, *transports: dict[str, Any], sender: str = "") -> list[str]:
    """A line for each transport; all in one process, which takes long to start."""
    script = SCRIPTS / "nodemailer_login.js"
    arguments = [json.dumps(transports), sender or account.address, account.address]
    done = run(home, need("node"), script, *arguments, env=need_node_modules("nodemailer"))
    return done.stdout.decode().splitlines()


def test_login(tmp_path: Path, account: Account) -> None:
    every = [
        transport(account, tls, method)
        for tls in ("starttls", "implicit")
        for method in (*PASSWORD_METHODS, "XOAUTH2")
    ]
    assert send(tmp_path, account, *every) == ["ok"] * len(every)
    assert len(account.messages()) == len(every)


def test_what_is_refused(tmp_path: Path, account: Account, secured: Secured) -> None:
    other = secured.account()
    wrong = [transport(account, "starttls", method, "wrong") for method in PASSWORD_METHODS]
    wrong.append(transport(account, "implicit", "XOAUTH2", other.token()))
    assert send(tmp_path, account, *wrong) == ["535 EAUTH"] * len(wrong)
    right = transport(account, "starttls", "PLAIN")
    assert send(tmp_path, account, right, sender=other.address) == ["553 EENVELOPE"]
    nobody = [{**right, "auth": None}, {**right, "requireTLS": False, "ignoreTLS": True}]
    assert send(tmp_path, account, *nobody) == ["530 EENVELOPE"] * 2
    assert account.messages() == []


def test_certificate_is_checked(tmp_path: Path, account: Account) -> None:
    strangers = [{**transport(account, tls, "PLAIN"), "tls": {}} for tls in ("starttls", "implicit")]
    assert send(tmp_path, account, *strangers) == ["undefined ESOCKET"] * 2
