"""Python's smtplib: STARTTLS and implicit TLS, its mechanisms, and what the server says on the way."""

import smtplib
from base64 import b64encode
from collections.abc import Iterator

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.secured import MECHANISMS, Account, Secured


def connect(account: Account, tls: str) -> smtplib.SMTP:
    """A connection to the port for submission, with TLS."""
    address = account.server.address("submission", tls)
    if tls == "implicit":
        return smtplib.SMTP_SSL(*address, context=account.context)
    client = smtplib.SMTP(*address)
    assert client.starttls(context=account.context)[0] == 220
    return client


@pytest.fixture(params=["starttls", "implicit"])
def client(request: pytest.FixtureRequest, account: Account) -> Iterator[smtplib.SMTP]:
    with connect(account, request.param) as client:
        yield client


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("initial", [True, False], ids=["initial response", "challenge first"])
def test_login(account: Account, client: smtplib.SMTP, mechanism: str, initial: bool) -> None:
    client.ehlo()
    client.user, client.password = account.address, account.password
    client.auth(
        mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")), initial_response_ok=initial
    )
    client.sendmail(account.address, [account.address], MESSAGES["plain"])
    [stored] = account.messages()
    assert original(stored) == MESSAGES["plain"]


def test_login_by_itself(account: Account, hashed: Account) -> None:
    """``login`` goes on to the next mechanism where CRAM-MD5 cannot do."""
    for one in (account, hashed):
        with connect(one, "starttls") as client:
            assert client.login(one.address, one.password)[0] == 235


def test_local_part_is_a_name(account: Account, client: smtplib.SMTP) -> None:
    assert client.login(account.name, account.password)[0] == 235
    client.sendmail(account.address, [account.address], MESSAGES["plain"])


def test_wrong_password(account: Account, client: smtplib.SMTP) -> None:
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        client.login(account.address, "wrong")
    # the third failure, of one by each mechanism, is the last
    assert refused.value.smtp_code == 421


def test_extensions_tell_what_may_be_used_now(account: Account, secured: Secured) -> None:
    for protocol in ("smtp", "submission"):
        with smtplib.SMTP(*account.server.address(protocol, "starttls")) as client:
            client.ehlo()
            assert client.has_extn("starttls")
            assert not client.has_extn("auth")
            assert client.docmd("AUTH PLAIN", encoded("\0a\0b"))[0] == 538
            assert client.docmd("AUTH", "LOGIN")[0] == 538
            client.starttls(context=account.context)
            assert client.docmd("MAIL FROM:<>")[0] in (503, 530)  # EHLO is forgotten
            client.ehlo()
            assert not client.has_extn("starttls")
            # no certificate is shown here
            assert client.esmtp_features["auth"].split() == [one for one in MECHANISMS if one != "EXTERNAL"]
            assert client.docmd("STARTTLS")[0] == 503
            assert client.docmd("AUTH DIGEST-MD5")[0] == 504
            client.login(account.address, account.password)
            client.ehlo()
            assert not client.has_extn("auth")
            assert client.docmd("AUTH PLAIN", encoded("\0a\0b"))[0] == 503


def test_what_goes_wrong_on_the_way(account: Account, client: smtplib.SMTP) -> None:
    client.ehlo()
    assert client.docmd("AUTH PLAIN", "!!!")[0] == 501
    assert client.docmd("AUTH LOGIN") == (334, b64encode(b"Username:"))
    assert client.docmd("*")[0] == 501
    assert client.docmd("AUTH CRAM-MD5", encoded("too early"))[0] == 501
    assert client.docmd("AUTH PLAIN") == (334, b"")
    assert client.docmd("A" * 20_000)[0] == 500
    assert client.docmd("AUTH PLAIN", encoded(f"\0{account.address}\0{account.password}"))[0] == 235
    assert client.mail(account.address)[0] == 250
    assert client.docmd("AUTH PLAIN", "=")[0] == 503


def test_authorization_identity(account: Account, secured: Secured, client: smtplib.SMTP) -> None:
    other = secured.account()
    client.ehlo()
    login = f"\0{account.address}\0{account.password}"
    assert client.docmd("AUTH PLAIN", encoded(other.address + login))[0] == 535
    assert client.docmd("AUTH PLAIN", encoded(account.address + login))[0] == 235


def test_anonymous(account: Account, client: smtplib.SMTP) -> None:
    client.ehlo()
    assert client.docmd("AUTH ANONYMOUS", encoded("somebody@client.example"))[0] == 235
    assert client.mail(account.address)[0] == 553
    assert client.mail("anonymous@example.org")[0] == 250


def test_external(account: Account, secured: Secured) -> None:
    shown = account.certificate()
    context = account.context
    context.load_cert_chain(shown.certificate, shown.private_key)
    with smtplib.SMTP_SSL(*account.server.address("submission", "implicit"), context=context) as client:
        client.ehlo()
        assert "EXTERNAL" in client.esmtp_features["auth"].split()
        assert client.docmd("AUTH EXTERNAL", encoded(secured.account().address))[0] == 535
        assert client.docmd("AUTH EXTERNAL", "=")[0] == 235
        client.sendmail(account.address, [account.address], MESSAGES["plain"])
    assert len(account.messages()) == 1
    local, _ = account.address.split("@")
    for chosen in (local, local.upper(), account.address.upper()):
        with smtplib.SMTP_SSL(*account.server.address("submission", "implicit"), context=context) as client:
            client.ehlo()
            assert client.docmd("AUTH EXTERNAL", encoded(chosen))[0] == 235, chosen


def others(account: Account) -> list[str]:
    """Names that look like the account's address, and are not it."""
    local, domain = account.address.split("@")
    wide = chr(ord(local[0]) - ord("a") + ord("\uff41")) + local[1:]
    soft = f"{local[0]}\u00ad{local[1:]}"
    return [local, f"{wide}@{domain}", f"{soft}@{domain}", f"{local.upper()}@{domain}"]


@pytest.mark.parametrize("as_utf8", [True, False])
@pytest.mark.parametrize("response", ["=", "the account"])
def test_a_certificate_of_somebody_whose_name_looks_alike(
    account: Account, as_utf8: bool, response: str
) -> None:
    assert account.authority is not None
    for name in others(account):
        if not (as_utf8 or name.isascii()):
            continue
        shown = account.authority.issue(**{"utf8_mail" if as_utf8 else "mail": [name]})  # type: ignore[arg-type]
        context = account.context
        context.load_cert_chain(shown.certificate, shown.private_key)
        with smtplib.SMTP_SSL(*account.server.address("submission", "implicit"), context=context) as client:
            client.ehlo()
            said = response if response == "=" else encoded(account.address)
            assert client.docmd("AUTH EXTERNAL", said)[0] == 535, name


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_tokens_that_are_not_good(account: Account, secured: Secured, mechanism: str) -> None:
    unsigned = ".".join([account.token().split(".")[0], account.token().split(".")[1], ""])
    tokens = {
        "expired": account.token(seconds=-60),
        "of somebody else": secured.account().token(),
        "of nobody": account.token("nobody@example.org"),
        "not signed": unsigned,
        "no token": "x",
        **{name: account.token(name) for name in others(account)},
    }
    for what, token in tokens.items():
        with connect(account, "implicit") as client:
            client.ehlo()
            if mechanism == "XOAUTH2":
                response = f"user={account.address}\1auth=Bearer {token}\1\1"
            else:
                response = f"n,a={account.address},\1auth=Bearer {token}\1\1"
            assert client.docmd(f"AUTH {mechanism}", encoded(response))[0] == 334, what
            assert client.docmd("AQ==")[0] == 535, what
