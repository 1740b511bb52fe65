"""A server with a certificate and nothing said about logins: what it offers, and what clients make of it."""

import poplib
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.clients import curl_read, curl_send, fetchmail, mpop, msmtp
from tests.support.e2e.mutt import mutt_send
from tests.support.e2e.programs import need, run
from tests.support.e2e.secured import Account, Secured


@pytest.fixture(scope="module")
def defaults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    secured = Secured(tmp_path_factory.mktemp("defaults"))
    try:
        secured.server.start()
        yield secured
    finally:
        secured.server.finish()


@pytest.fixture(params=["plain", "hashed"])
def account(request: pytest.FixtureRequest, defaults: Secured) -> Account:
    return defaults.account() if request.param == "plain" else defaults.hashed()


@pytest.fixture
def one(defaults: Secured) -> Account:
    return defaults.hashed()


def test_smtp_offers_plain_and_login_under_tls(one: Account) -> None:
    for protocol in ("smtp", "submission"):
        with smtplib.SMTP(*one.server.address(protocol, "starttls")) as client:
            client.ehlo()
            assert not client.has_extn("auth")
            client.starttls(context=one.context)
            client.ehlo()
            assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
            for mechanism in (
                "CRAM-MD5",
                "SCRAM-SHA-256",
                "XOAUTH2",
                "EXTERNAL",
                "ANONYMOUS",
                "APOP",
                "USER",
            ):
                assert client.docmd("AUTH", mechanism)[0] == 504


def test_pop3_offers_them_too_and_no_apop(one: Account) -> None:
    client: Any = poplib.POP3(*one.server.address("pop3", "starttls"), timeout=15)
    assert "<" not in client.getwelcome().decode()
    client.stls(one.context)
    assert client.capa()["SASL"] == ["PLAIN", "LOGIN"]
    with pytest.raises(poplib.error_proto, match="-ERR"):
        client._shortcmd(f"APOP {one.address} {'0' * 32}")
    client.quit()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_curl(tmp_path: Path, account: Account, tls: str) -> None:
    """It chooses, as msmtp, mpop, fetchmail and mutt do below."""
    curl_send(tmp_path, account, tls, "on").check(0)
    account.fill(MESSAGES["plain"])
    assert unix(MESSAGES["plain"]) in curl_read(tmp_path, account, tls, "on").check(0).got[0]
    curl_send(tmp_path, account, tls, "on", password="wrong").check(67, "< 535 5.7.8")
    curl_read(tmp_path, account, tls, "on", "wrong").check(67)


def test_those_that_choose(tmp_path: Path, account: Account) -> None:
    msmtp(tmp_path, account, "starttls", "on").check(0)
    mutt_send(tmp_path, account, "starttls", "on").check(0)
    assert len(account.messages()) == 2
    for read in (mpop, fetchmail):
        assert len(read(tmp_path, account, "starttls", "on").check(0).got) == 2


def test_s_nail(tmp_path: Path, account: Account) -> None:
    # it takes an IP address in a certificate for none
    settings = [
        "v15-compat",
        "DEAD=/dev/null",
        f"mta=smtp://localhost:{account.port('submission', 'starttls')}",
        "smtp-use-starttls",
        "tls-verify=strict",
        f"tls-ca-file={account.ca}",
        f"from={account.address}",
        f"user={account.address}",
        f"password={account.password}",
    ]
    options = [word for setting in settings for word in ("-S", setting)]
    run(tmp_path, need("s-nail"), "-:/", *options, "-s", "by s-nail", account.address, input=b"hello\n")
    assert len(account.messages()) == 1


@pytest.mark.parametrize("way", ["smtplib", "smtplib with TLS at once", "poplib"])
def test_python(account: Account, way: str) -> None:
    """The few lines that people write."""
    if way == "poplib":
        client = poplib.POP3_SSL(*account.server.address("pop3", "implicit"), context=account.context)
        client.user(account.address)
        assert client.pass_(account.password).startswith(b"+OK")
        client.quit()
    elif way == "smtplib":
        with smtplib.SMTP(*account.server.address("submission", "starttls")) as smtp:
            smtp.starttls(context=account.context)
            smtp.login(account.address, account.password)
            assert smtp.sendmail(account.address, account.address, MESSAGES["plain"]) == {}
    else:
        address = account.server.address("submission", "implicit")
        with smtplib.SMTP_SSL(*address, context=account.context) as smtp:
            smtp.login(account.address, account.password)
            assert smtp.sendmail(account.address, account.address, MESSAGES["plain"]) == {}
