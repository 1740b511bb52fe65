"""Ways to log in: what the session tells of each, and which passwords are accepted."""

import base64
import poplib
import smtplib
import socket
from typing import Any

import pytest

from mailserver.sasl.apop import apop_digest
from mailserver.testing.server import MailServer
from tests.support.sasl.client import CLIENTS, log_in

ACCOUNT = "bob@example.test"
TOKENS = {
    "XOAUTH2": f"user={ACCOUNT}\1auth=Bearer secret\1\1",
    "OAUTHBEARER": f"n,a={ACCOUNT},\1auth=Bearer secret\1\1",
}
CHALLENGES = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"]


class Client:
    """A client of either protocol, on the port for TLS, with STARTTLS, or without TLS."""

    def __init__(self, server: MailServer, protocol: str, tls: str) -> None:
        port = {"smtp": server.smtps, "pop3": server.pop3s} if tls == "implicit" else vars(server)
        where = port[protocol]
        self.socket: Any = socket.create_connection((where.host, where.port), timeout=5)
        if tls == "implicit":
            self._begin_tls(server)
        self.lines = self.socket.makefile("rb")
        self.greeting = self.lines.readline().strip()
        if protocol == "smtp":
            self.ask(b"HELO client.test")
        if tls == "starttls":
            self.ask(b"STARTTLS" if protocol == "smtp" else b"STLS")
            self._begin_tls(server)
            self.lines = self.socket.makefile("rb")
            if protocol == "smtp":
                self.ask(b"HELO client.test")

    def _begin_tls(self, server: MailServer) -> None:
        self.socket = server.ssl_context().wrap_socket(self.socket, server_hostname="mail.example.test")

    def ask(self, line: bytes) -> bytes:
        self.socket.sendall(line + b"\r\n")
        answer: bytes = self.lines.readline()
        return answer.removesuffix(b"\r\n")

    def log_in(self, mechanism: str, password: str = "secret") -> bytes:
        if mechanism in TOKENS:
            token = base64.b64encode(TOKENS[mechanism].encode())
            return self.ask(b"AUTH %b %b" % (mechanism.encode(), token))
        if mechanism == "USER":
            self.ask(b"USER " + ACCOUNT.encode())
            return self.ask(b"PASS " + password.encode())
        if mechanism == "APOP":
            timestamp = self.greeting[self.greeting.index(b"<") :].decode()
            return self.ask(f"APOP {ACCOUNT} {apop_digest(timestamp, password)}".encode())
        return log_in(self.ask, mechanism, ACCOUNT.encode(), password.encode())

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        *((protocol, each) for each in (*CLIENTS, *TOKENS) for protocol in ("smtp", "pop3")),
        ("pop3", "USER"),
        ("pop3", "APOP"),
    ],
)
def test_what_a_session_tells_of_a_login(
    mailserver: MailServer, protocol: str, mechanism: str, tls: str
) -> None:
    mailserver.add_account(ACCOUNT)
    client = Client(mailserver, protocol, tls)
    assert client.log_in(mechanism).startswith((b"235", b"+OK"))
    (session,) = mailserver.sessions
    assert (session.protocol, session.mechanism, session.account) == (protocol, mechanism, ACCOUNT)
    assert session.tls.startswith("TLSv1.3 ") == bool(session.tls) == (tls != "none")
    client.close()
    assert mailserver.wait_for_session(account="bob", protocol=protocol) is session


@pytest.mark.parametrize("protocol", ["smtp", "pop3"])
def test_a_login_that_fails_is_none(mailserver: MailServer, protocol: str) -> None:
    mailserver.add_account(ACCOUNT, "right")
    client = Client(mailserver, protocol, "none")
    assert client.log_in("PLAIN", "wrong").startswith((b"535", b"-ERR"))
    (session,) = mailserver.sessions
    assert (session.mechanism, session.account) == ("", "")
    assert client.log_in("CRAM-MD5", "right").startswith((b"235", b"+OK"))
    assert (session.mechanism, session.account) == ("CRAM-MD5", ACCOUNT)
    client.close()


def test_any_password_passes_at_once(mailserver: MailServer) -> None:
    with smtplib.SMTP(mailserver.smtp.host, mailserver.smtp.port) as smtp:
        assert smtp.login("bob", "any")[0] == 235
    (session,) = mailserver.sessions
    assert session.transcript.count("AUTH") == 1 and session.mechanism == "PLAIN"


@pytest.mark.parametrize(
    ("settings", "account", "offered"),
    [
        ({}, None, False),
        ({}, ACCOUNT, True),
        ({"accept": "accounts"}, None, True),
        ({"auth": {"mechanisms": ["PLAIN", *CHALLENGES, "APOP"]}}, None, True),
    ],
)
def test_challenges_are_offered_where_passwords_are_known(
    settings: dict[str, Any], account: str | None, offered: bool
) -> None:
    with MailServer(**settings) as server:
        if account is not None:
            server.add_account(account)
        with smtplib.SMTP(server.smtp.host, server.smtp.port) as smtp:
            smtp.ehlo()
            smtp_names = set(smtp.esmtp_features["auth"].split())
        pop3 = poplib.POP3(server.pop3.host, server.pop3.port)
        pop3_names = set(pop3.capa()["SASL"])
        assert (b"<" in pop3.getwelcome()) is offered
        pop3.quit()
    assert "PLAIN" in smtp_names & pop3_names
    for each in CHALLENGES:
        assert ((each in smtp_names), (each in pop3_names)) == (offered, offered)
