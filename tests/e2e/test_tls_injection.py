"""What comes in the clear behind STARTTLS or STLS may be anybody's, and is never heeded."""

import socket
import ssl

import pytest

from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.secured import Account

SMTP_INJECTED = {
    "a command": b"EHLO injected.example\r\n",
    "many": b"EHLO injected.example\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@example.org>\r\nDATA\r\n",
    "the beginning of one": b"NOOP ",
    "nothing": b"",
}
POP3_INJECTED = {
    "a command": b"CAPA\r\n",
    "many": b"USER injected\r\nPASS injected\r\nSTAT\r\nQUIT\r\n",
    "the beginning of one": b"USER ",
    "nothing": b"",
}


@pytest.mark.parametrize("protocol", ["smtp", "submission"])
@pytest.mark.parametrize("injected", SMTP_INJECTED)
def test_smtp(account: Account, protocol: str, injected: str) -> None:
    with Smtp(account.server.address(protocol, "starttls")) as session:
        session.expect(b"EHLO client.example", b"250")
        session.send(b"STARTTLS\r\n" + SMTP_INJECTED[injected])
        assert session.reply().startswith(b"220 ")
        session.begin_tls(account.context)
        # nothing is answered that was not asked, and nothing of before is known
        assert session.ask(b"NOOP") == b"250 2.0.0 Ok"
        assert session.ask(b"RSET") == b"250 2.0.0 Ok"
        session.expect(b"MAIL FROM:<%s>" % account.address.encode(), b"5")
        session.expect(b"EHLO client.example", b"250-mail.example.org\r\n")
        session.expect(b"QUIT", b"221")
        assert session.rest() == b""


@pytest.mark.parametrize("injected", POP3_INJECTED)
def test_pop3(account: Account, injected: str) -> None:
    with Pop3(account.server.address("pop3", "starttls")) as session:
        session.send(b"STLS\r\n" + POP3_INJECTED[injected])
        assert session.reply().startswith(b"+OK ")
        session.begin_tls(account.context)
        session.expect(b"PASS " + account.password.encode(), b"-ERR")
        assert session.login(account.address, account.password).startswith(b"+OK")
        session.expect(b"QUIT", b"+OK")
        assert session.rest() == b""


def test_it_is_told(account: Account) -> None:
    behind = b"NOOP\r\n" * 7
    with Smtp(account.server.address("smtp", "starttls")) as session:
        session.send(b"STARTTLS\r\n" + behind)
        session.reply()
        session.begin_tls(account.context)
        session.expect(b"QUIT", b"221")
    assert f"refused 127.0.0.1: {len(behind)} octets in the clear behind STARTTLS" in account.server.log


def test_in_a_transaction_it_is_refused(account: Account) -> None:
    with Smtp(account.server.address("smtp", "starttls")) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<sender@client.example>", b"250")
        session.expect(b"STARTTLS", b"503")
        session.expect(b"RCPT TO:<%s>" % account.address.encode(), b"250")
        session.expect(b"STARTTLS", b"503")
        session.expect(b"RSET", b"250")
        session.expect(b"STARTTLS", b"220")


def test_arguments_and_second_times(account: Account) -> None:
    with Smtp(account.server.address("smtp", "starttls")) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"STARTTLS now", b"501")
        session.expect(b"STARTTLS", b"220")
        session.begin_tls(account.context)
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"STARTTLS", b"503")
    with Pop3(account.server.address("pop3", "starttls")) as session:
        session.expect(b"STLS now", b"-ERR")
        session.expect(b"STLS", b"+OK")
        session.begin_tls(account.context)
        session.expect(b"STLS", b"-ERR")
        session.login(account.address, account.password)
        session.expect(b"STLS", b"-ERR")


@pytest.mark.parametrize("port", [("submission", "implicit"), ("pop3", "implicit")], ids=lambda port: port[0])
def test_no_tls_where_tls_must_be(account: Account, port: tuple[str, str]) -> None:
    """Somebody who speaks in the clear gets an alert of TLS and no more."""
    with socket.create_connection(account.server.address(*port), 15) as plain:
        plain.sendall(b"EHLO client.example\r\nUSER somebody\r\n")
        assert plain.makefile("rb").read()[:1] in (b"", b"\x15")
    with account.connect(*port) as session:
        session.expect(b"QUIT", b"221" if port[0] == "submission" else b"+OK")


def test_tls_where_it_must_be_asked_for(account: Account) -> None:
    """A ClientHello is no command; the next client is served as ever."""
    for protocol in ("smtp", "pop3"):
        with pytest.raises((ssl.SSLError, OSError)):
            Smtp(account.server.address(protocol, "starttls"), context=account.context)
