"""Clients and mechanisms: every way that a client has to log in under TLS, and what refusals mean to it."""

import email
import email.policy
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from tests.support.corpus.messages import MESSAGES, original, unix
from tests.support.e2e.clients import (
    READERS,
    SENDERS,
    TLS,
    TOKENS,
    curl,
    curl_login,
    curl_read,
    curl_send,
    fetchmail,
    getmail,
    mpop,
    msmtp,
    swaks,
)
from tests.support.e2e.programs import need_perl
from tests.support.e2e.secured import TOKEN_KEY, Account, Secured

PASSWORDS = ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256")
SENDS = {
    "curl": ("plain", "login", "cram-md5", "oauthbearer", "external"),
    "msmtp": (*PASSWORDS, "external", "oauthbearer", "xoauth2"),
    "mutt": ("plain", "login", "cram-md5", "scram-sha-256"),
    "perl": ("plain", "login"),
    "swaks": ("plain", "login", "cram-md5"),
}
READS = {
    "curl": ("plain", "login", "cram-md5", "oauthbearer", "external", "apop"),
    "fetchmail": ("user", "cram-md5", "apop"),
    "getmail": ("user",),
    "mpop": ("user", *PASSWORDS, "apop", "external", "oauthbearer", "xoauth2"),
    "mutt": ("user", "apop", "plain", "cram-md5", "scram-sha-256"),
    "perl": ("user", "apop", "plain"),
}
# With APOP fetchmail never asks for STLS, and getmail has none.
IMPLICIT_ALONE = {("fetchmail", "apop"), ("getmail", "user")}
SAID = {
    "curl": "> AUTH {}",
    "fetchmail": "POP3> AUTH {}",
    "mpop": "--> AUTH {}",
    "msmtp": "--> AUTH {}",
    "swaks": " ~> AUTH {}",
}
"""How a client shows its login by a mechanism; the others do not show it."""
NO_LOGIN = "-ERR [AUTH] wrong user name or password"
# exit status and words of a refused login; None is any status
SENDER_REFUSED = {
    "curl": (67, "< 535 5.7.8"),
    "msmtp": (77, "535"),  # EX_NOPERM of sysexits.h
    "perl": (None, "auth:"),
    "swaks": (28, "<~* 535 5.7.8"),
}
READER_REFUSED = {
    "curl": (67, ""),
    "fetchmail": (3, NO_LOGIN),
    "getmail": (None, "[AUTH] wrong user name or password"),
    "mpop": (77, NO_LOGIN),
    "perl": (None, "[AUTH]"),
}
# the same of a certificate that nobody vouches for, and what is not said then
STRANGERS = {
    ("send", "curl"): (None, "", "> AUTH"),
    ("send", "msmtp"): (None, "TLS certificate verification failed", "AUTH"),
    ("send", "mutt"): (1, "", "AUTH"),
    ("send", "perl"): (None, "certificate verify failed", "AUTH"),
    ("send", "swaks"): (29, "", "~> AUTH"),
    ("read", "fetchmail"): (None, "certificate verify failed", "POP3> USER"),
    ("read", "getmail"): (None, "certificate verify failed", "USER"),
    ("read", "mpop"): (None, "TLS certificate verification failed", "--> USER"),
    ("read", "perl"): (None, "certificate verify failed", "USER"),
}
XOAUTH2_ALONE = f'''
[auth]
mechanisms = ["XOAUTH2"]

[token]
key = "{TOKEN_KEY}"
'''


def rows(table: dict[str, tuple[str, ...]]) -> list[Any]:
    """Client, mechanism and kind of TLS. The default run has both kinds of TLS for each client's first
    mechanism, and one of them, in turn, for the others.
    """
    return [
        pytest.param(client, way, tls, marks=() if soon else pytest.mark.slow)
        for client, ways in table.items()
        for number, way in enumerate(ways)
        for kinds in [[tls for tls in TLS if tls == "implicit" or (client, way) not in IMPLICIT_ALONE]]
        for tls in kinds
        for soon in [number == 0 or tls == kinds[number % len(kinds)]]
    ]


def shown(client: str, way: str) -> str:
    said = SAID.get(client, "")
    return said.replace("AUTH {}", f"{way.upper()} ") if way in ("user", "apop") else said.format(way.upper())


@pytest.fixture
def home(nobodys_folder: Path) -> Path:
    return nobodys_folder


@pytest.mark.parametrize(("client", "way", "tls"), rows(SENDS))
def test_sends(home: Path, account: Account, client: str, way: str, tls: str) -> None:
    SENDERS[client](home, account, tls, way).check(0, shown(client, way))
    [stored] = account.messages()
    assert b" with ESMTPSA id " in stored
    if client == "mutt":
        check_multipart(stored, account.address)
    elif client == "perl":
        assert stored.endswith(b"\r\n\r\n%s\r\n" % way.upper().encode())
    else:
        assert original(stored) == MESSAGES["plain"]


def check_multipart(stored: bytes, sender: str) -> None:
    got = email.message_from_bytes(stored, policy=email.policy.default)
    assert got["Subject"] == "by mutt"
    assert got["From"].addresses[0].addr_spec == sender
    body = got.get_body()
    assert body is not None
    assert body.get_content().splitlines() == ["Grüße", "."]
    [attached] = got.iter_attachments()
    assert attached.get_payload(decode=True) == bytes(range(256)) * 256


@pytest.mark.parametrize(("client", "way", "tls"), rows(READS))
def test_reads(home: Path, account: Account, client: str, way: str, tls: str) -> None:
    account.fill(MESSAGES["plain"], MESSAGES["dots"])
    ran = READERS[client](home, account, tls, way).check(0, shown(client, way))
    stored = [unix(octets) for octets in account.messages()]
    assert sorted(ran.got) == sorted(stored[:1] if client == "perl" else stored)
    if client == "fetchmail":
        assert ("POP3> STLS" in ran.said) == (tls == "starttls")


def wrong(way: str, other: Account) -> str:
    """A token of somebody else, or the name that goes with another certificate, is as wrong as a password."""
    return other.token() if way in TOKENS else other.address if way == "external" else "wrong"


REFUSED = [(client, way) for client in SENDER_REFUSED for way in SENDS[client]]


@pytest.mark.parametrize(("client", "way"), [row for row in REFUSED if row != ("msmtp", "external")])
def test_a_wrong_password_of_a_sender(
    home: Path, account: Account, secured: Secured, client: str, way: str
) -> None:
    tls = "implicit" if client in ("curl", "perl") else "starttls"
    ran = SENDERS[client](home, account, tls, way, password=wrong(way, secured.account()))
    ran.check(*SENDER_REFUSED[client])
    assert account.messages() == []


@pytest.mark.parametrize(
    ("client", "way"),
    [
        (client, way)
        for client in READER_REFUSED
        for way in READS[client]
        if (client, way) != ("mpop", "external")
    ],
)
def test_a_wrong_password_of_a_reader(
    home: Path, account: Account, secured: Secured, client: str, way: str
) -> None:
    ran = READERS[client](home, account, "implicit", way, password=wrong(way, secured.account()))
    ran.check(*READER_REFUSED[client])


@pytest.mark.parametrize(
    ("kind", "client", "tls"),
    # getmail has no STLS
    [(*each, tls) for each in STRANGERS for tls in TLS if (each[1], tls) != ("getmail", "starttls")],
)
def test_a_certificate_is_checked(
    home: Path, account: Account, secured: Secured, kind: str, client: str, tls: str
) -> None:
    account.fill(MESSAGES["plain"])
    other = secured.authority.issue("elsewhere.example").certificate
    if kind == "send":
        ran = SENDERS[client](home, account, tls, "plain", ca=other)
    else:
        ran = READERS[client](home, account, tls, "user", ca=other)
    status, said, unsaid = STRANGERS[kind, client]
    ran.check(status, said)
    assert ran.status != 0 and unsaid not in ran.said
    assert b"".join(ran.got) == b""
    assert len(account.messages()) == 1


@pytest.mark.parametrize(
    ("client", "status", "said"),
    [("curl", 55, "< 553 5.7.1"), ("msmtp", 65, "553 5.7.1"), ("swaks", 23, "<~* 553 5.7.1")],
)
def test_a_foreign_sender(
    home: Path, account: Account, secured: Secured, client: str, status: int, said: str
) -> None:
    SENDERS[client](home, account, "starttls", "plain", sender=secured.account().address).check(status, said)
    assert account.messages() == []


@pytest.mark.parametrize(
    ("client", "way", "status", "said"),
    [
        *[("curl", way, 67, "") for way in ("digest-md5", "ntlm", "gssapi")],
        *[("msmtp", way, 69, "does not support authentication method") for way in ("digest-md5", "ntlm")],
        *[("mpop", way, 69, "does not support authentication method") for way in ("digest-md5", "ntlm")],
        *[("swaks", way, 28, "") for way in ("digest-md5", "cram-sha1")],
    ],
)
def test_mechanisms_that_there_are_not(
    home: Path, account: Account, client: str, way: str, status: int, said: str
) -> None:
    if client == "swaks":
        need_perl("Authen::SASL")
    ran = (SENDERS | {"mpop": mpop})[client](home, account, "starttls", way).check(status, said)
    assert "235 2.7.0" not in ran.said
    assert way.upper() not in ran.said.partition("250-AUTH")[2].partition("\n")[0]


@pytest.mark.parametrize("client", ["fetchmail", "getmail", "mpop"])
def test_apop_without_tls(home: Path, account: Account, client: str) -> None:
    """No password is sent, so that it may come in the clear."""
    account.fill(MESSAGES["plain"])
    tls = "starttls" if client == "fetchmail" else ""  # which does not ask for it
    ran = READERS[client](home, account, tls, "apop").check(0)
    assert not any(f"{mark} STLS" in ran.said for mark in ("-->", "POP3>"))
    assert ran.got == [unix(octets) for octets in account.messages()]


def test_hashed_passwords(home: Path, hashed: Account) -> None:
    hashed.fill(MESSAGES["plain"])
    for read, way in ((mpop, "plain"), (mpop, "user"), (fetchmail, "user"), (getmail, "user")):
        assert len(read(home, hashed, "implicit", way).check(0).got) >= 1, way
    # what these want cannot be computed from a hash
    for way in ("apop", "cram-md5", "scram-sha-256"):
        mpop(home, hashed, "starttls", way).check(77)
    # curl takes CRAM-MD5 for the safest: what is offered is not what each account can
    curl_send(home, hashed, "starttls", "on").check(67, "> AUTH CRAM-MD5")
    curl_send(home, hashed, "starttls", "plain").check(0)
    msmtp(home, hashed, "implicit", "plain").check(0)
    assert len(hashed.messages()) == 3


def test_they_choose(home: Path, account: Account) -> None:
    msmtp(home, account, "starttls", "on").check(0)
    assert len(account.messages()) == 1


def test_no_password_in_the_clear(home: Path, account: Account) -> None:
    """Neither curl without ``--ssl-reqd`` nor fetchmail without TLS sends one."""
    mail = ["--mail-from", account.address, "--mail-rcpt", account.address, "--upload-file", "/dev/null"]
    plain = curl_login(account, "plain")
    ran = curl(home, account, "submission", "", "client.example", *plain, *mail).check(None, "< 530 5.7.0")
    assert "> AUTH" not in ran.said
    curl(home, account, "pop3", "", "", *plain).check(67)
    assert "POP3> PASS" not in fetchmail(home, account, "", "user").check(3).said


def test_swaks_without_a_login(home: Path, account: Account) -> None:
    swaks(home, account, "implicit", "").check(23, "<~* 530 5.7.0")


def test_curl_with_the_authorities_of_this_machine(home: Path, account: Account) -> None:
    """They have not signed the certificate."""
    for tls in TLS:
        curl_send(home, account, tls, "plain", ca=Path("/dev/null")).check(77)
    assert account.messages() == []


def test_xoauth2_of_curl(tmp_path: Path) -> None:
    """With a token curl takes OAUTHBEARER where there is that, too, whatever it is told."""
    only = Secured(tmp_path, XOAUTH2_ALONE)
    try:
        only.server.start()
        account = only.account()
        bad = account.token(key="not the secret that tokens are signed with")
        said = curl_send(tmp_path, account, "implicit", "xoauth2", password=bad).check(67).said
        # the reason, in JSON, upon which curl hangs up
        [reason] = re.findall(r"< 334 (\S+)", said)
        assert json.loads(b64decode(reason))["status"] == "400"
        curl_read(tmp_path, account, "implicit", "xoauth2", bad).check(67)
        curl_send(tmp_path, account, "starttls", "xoauth2").check(0, "> AUTH XOAUTH2")
        [got] = curl(tmp_path, account, "pop3", "starttls", "1", *curl_login(account, "xoauth2")).check(0).got
        assert original(got) == MESSAGES["plain"]
    finally:
        only.server.finish()
