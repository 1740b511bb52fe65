"""Python's poplib: STLS and implicit TLS, USER and APOP, and what the server says on the way."""

import poplib
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.secured import MECHANISMS, Account, Secured

OFFERED = [name for name in MECHANISMS if name != "EXTERNAL"]  # no certificate is shown here


def connect(account: Account, tls: str) -> Any:
    """A connection with TLS."""
    address = account.server.address("pop3", tls)
    if tls == "implicit":
        return poplib.POP3_SSL(*address, context=account.context, timeout=15)
    client: Any = poplib.POP3(*address, timeout=15)
    assert client.stls(account.context).startswith(b"+OK")
    return client


@pytest.fixture(params=["starttls", "implicit"])
def client(request: pytest.FixtureRequest, account: Account) -> Iterator[Any]:
    client = connect(account, request.param)
    yield client
    client.close()


def log_in(client: Any, account: Account, way: str, password: str = "") -> bytes:
    """Log in by PASS or by APOP; the answer."""
    if way == "apop":
        return client.apop(account.address, password or account.password)
    client.user(account.address)
    return client.pass_(password or account.password)


@pytest.mark.parametrize("way", ["user", "apop"])
def test_login(account: Account, client: Any, way: str) -> None:
    account.fill(MESSAGES["plain"])
    log_in(client, account, way)
    assert original(b"".join(line + b"\r\n" for line in client.retr(1)[1])) == MESSAGES["plain"]
    client.quit()


@pytest.mark.parametrize("way", ["user", "apop"])
def test_wrong_password(account: Account, client: Any, way: str) -> None:
    """The third failure is the last."""
    for _ in range(3):
        with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\] wrong user name or password"):
            log_in(client, account, way, "wrong")
    with pytest.raises((poplib.error_proto, OSError)):
        client.noop()


def test_apop_without_tls(account: Account) -> None:
    client: Any = poplib.POP3(*account.server.address("pop3", "starttls"), timeout=15)
    assert log_in(client, account, "apop").startswith(b"+OK")
    client.quit()


def test_apop_needs_a_password_that_can_be_read(hashed: Account) -> None:
    client = connect(hashed, "implicit")
    with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\]"):
        log_in(client, hashed, "apop")
    assert log_in(client, hashed, "user").startswith(b"+OK")
    client.quit()


def test_capabilities_tell_what_may_be_used_now(account: Account) -> None:
    client: Any = poplib.POP3(*account.server.address("pop3", "starttls"), timeout=15)
    clear = client.capa()
    assert "STLS" in clear
    assert not {"USER", "SASL"} & set(clear)
    with pytest.raises(poplib.error_proto, match="-ERR no password"):
        client.user(account.address)
    with pytest.raises(poplib.error_proto, match="-ERR no password"):
        client._shortcmd("AUTH PLAIN")
    client.stls(account.context)
    secured = client.capa()
    assert secured["SASL"] == OFFERED
    assert "USER" in secured
    assert "STLS" not in secured
    assert [line.decode() for line in client._longcmd("AUTH")[1]] == OFFERED
    with pytest.raises(poplib.error_proto):
        client._shortcmd("STLS")
    log_in(client, account, "user")
    assert "STLS" not in client.capa()
    client.quit()


def test_auth_plain(account: Account, client: Any) -> None:
    response = b64encode(f"\0{account.address}\0{account.password}".encode()).decode()
    client._putcmd("AUTH PLAIN")
    assert client._getline()[0] == b"+ "
    assert client._shortcmd(response).startswith(b"+OK")
    client.quit()


def test_two_ways_into_one_mailbox(account: Account, secured: Secured) -> None:
    """The lock is the mailbox's, not the port's."""
    first, second = connect(account, "starttls"), connect(account, "implicit")
    log_in(first, account, "user")
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        log_in(second, account, "apop")
    first.quit()
    log_in(second, account, "apop")
    second.quit()
