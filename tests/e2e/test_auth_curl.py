"""curl with TLS: every mechanism it has, for SMTP and POP3, and a certificate that it cannot check."""

import json
import re
from base64 import b64decode
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.clients import LOGIN_DENIED, TLS, curl_fetch, curl_send
from tests.support.e2e.programs import need, run
from tests.support.e2e.secured import TOKEN_KEY, Account, Secured

NO_AUTHORITIES = 77
SENDER_REFUSED = 55
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER", "EXTERNAL")
XOAUTH2_ALONE = f'''
[auth]
mechanisms = ["XOAUTH2"]

[token]
key = "{TOKEN_KEY}"
'''


def credentials(account: Account, mechanism: str, right: bool = True) -> list[str | Path]:
    """The options for a login by ``mechanism``."""
    options: list[str | Path] = ["--login-options", f"AUTH={mechanism}"]
    if mechanism in ("XOAUTH2", "OAUTHBEARER"):
        token = account.token() if right else account.token(key="not the secret that tokens are signed with")
        return [*options, "-u", account.address, "--oauth2-bearer", token]
    if mechanism == "EXTERNAL":
        shown = account.certificate()
        name = account.address if right else "somebody@example.org"
        return [*options, "-u", f"{name}:", "--cert", shown.certificate, "--key", shown.private_key]
    return [*options, "-u", f"{account.address}:{account.password if right else 'wrong'}"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("tls", TLS)
def test_submission(tmp_path: Path, account: Account, tls: str, mechanism: str) -> None:
    said = curl_send(tmp_path, account, tls, *credentials(account, mechanism))
    assert f"> AUTH {mechanism}" in said
    [stored] = account.messages()
    assert original(stored) == MESSAGES["plain"]


@pytest.mark.parametrize("mechanism", [*MECHANISMS, "+APOP"])
@pytest.mark.parametrize("tls", TLS)
def test_pop3(tmp_path: Path, account: Account, tls: str, mechanism: str) -> None:
    account.fill(MESSAGES["plain"])
    got = curl_fetch(tmp_path, account, tls, *credentials(account, mechanism))
    assert original(got) == MESSAGES["plain"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_wrong_credentials(tmp_path: Path, account: Account, mechanism: str) -> None:
    wrong = credentials(account, mechanism, right=False)
    assert "< 535 5.7.8" in curl_send(tmp_path, account, "implicit", *wrong, status=LOGIN_DENIED)
    curl_fetch(tmp_path, account, "implicit", *wrong, status=LOGIN_DENIED)


def test_xoauth2(tmp_path: Path) -> None:
    """With a token curl takes OAUTHBEARER where there is that, too, whatever it is told."""
    only = Secured(tmp_path, XOAUTH2_ALONE)
    try:
        only.server.start()
        account = only.account()
        wrong = credentials(account, "XOAUTH2", right=False)
        said = curl_send(tmp_path, account, "implicit", *wrong, status=LOGIN_DENIED)
        # the reason, in JSON, upon which curl hangs up
        [reason] = re.findall(r"< 334 (\S+)", said)
        assert json.loads(b64decode(reason))["status"] == "400"
        curl_fetch(tmp_path, account, "implicit", *wrong, status=LOGIN_DENIED)
        right = credentials(account, "XOAUTH2")
        assert "> AUTH XOAUTH2" in curl_send(tmp_path, account, "starttls", *right)
        assert original(curl_fetch(tmp_path, account, "starttls", *right)) == MESSAGES["plain"]
    finally:
        only.server.finish()


@pytest.mark.parametrize("mechanism", ["DIGEST-MD5", "NTLM", "GSSAPI"])
def test_mechanisms_that_there_are_not(tmp_path: Path, account: Account, mechanism: str) -> None:
    said = curl_send(tmp_path, account, "starttls", *credentials(account, mechanism), status=LOGIN_DENIED)
    assert mechanism not in said.partition("250-AUTH")[2].partition("\n")[0]


def test_by_itself_it_takes_the_safest_it_knows(tmp_path: Path, hashed: Account) -> None:
    """By a hash nobody can compute what CRAM-MD5 wants: what is offered is not what each account can."""
    login = f"{hashed.address}:{hashed.password}"
    said = curl_send(tmp_path, hashed, "starttls", "-u", login, status=LOGIN_DENIED)
    assert "> AUTH CRAM-MD5" in said
    curl_send(tmp_path, hashed, "starttls", *credentials(hashed, "PLAIN"))
    assert len(hashed.messages()) == 1


@pytest.mark.parametrize("tls", TLS)
def test_certificate_is_checked(tmp_path: Path, account: Account, tls: str) -> None:
    """Against the authorities of this machine, which have not signed it."""
    others = ["--cacert", "/dev/null", *credentials(account, "PLAIN")]
    curl_send(tmp_path, account, tls, *others, status=NO_AUTHORITIES)
    assert account.messages() == []


def test_no_password_in_the_clear(tmp_path: Path, account: Account) -> None:
    """Without ``--ssl-reqd`` curl would log in if it were let."""
    url = f"smtp://127.0.0.1:{account.port('submission', 'starttls')}/client.example"
    mail = ["--mail-from", account.address, "--mail-rcpt", account.address, "--upload-file", "/dev/null"]
    done = run(tmp_path, need("curl"), "-sS", "-v", url, *credentials(account, "PLAIN"), *mail, status=None)
    said = done.stderr.decode()
    assert "> AUTH" not in said
    assert "< 530 5.7.0" in said
    url = f"pop3://127.0.0.1:{account.port('pop3', 'starttls')}/"
    run(tmp_path, need("curl"), "-sS", url, *credentials(account, "PLAIN"), status=LOGIN_DENIED)


def test_foreign_sender(tmp_path: Path, account: Account, secured: Secured) -> None:
    other = secured.account()
    options = credentials(account, "PLAIN")
    assert "< 553 5.7.1" in curl_send(
        tmp_path, account, "starttls", *options, sender=other.address, status=SENDER_REFUSED
    )
