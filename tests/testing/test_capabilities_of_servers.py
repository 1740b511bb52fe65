"""Capabilities that a test hides or invents, and the verbs of its own."""

import poplib
import smtplib

import pytest

from mailserver.testing.server import MailServer


def listed(server: MailServer) -> tuple[set[str], set[str]]:
    with smtplib.SMTP(server.smtp.host, server.smtp.port) as smtp:
        smtp.ehlo()
    pop3 = poplib.POP3(server.pop3.host, server.pop3.port)
    capabilities = set(pop3.capa())
    pop3.quit()
    return {name.upper() for name in smtp.esmtp_features}, capabilities


def test_hidden_and_invented(mailserver: MailServer) -> None:
    mailserver.smtp.hide("size", "STARTTLS")
    mailserver.smtp.invent("COFFEE hot")
    mailserver.pop3.hide("STLS")
    mailserver.smtp.on("COFFEE").reply(250, "2.0.0", "here")
    smtp, pop3 = listed(mailserver)
    assert "COFFEE" in smtp and not {"SIZE", "STARTTLS"} & smtp and "STLS" not in pop3
    with smtplib.SMTP(mailserver.smtp.host, mailserver.smtp.port) as client:
        assert client.docmd("coffee") == (250, b"2.0.0 here")
    mailserver.smtp.hide("coffee")


@pytest.mark.parametrize(
    ("protocol", "name", "why"),
    [
        ("smtp", "START-TLS", 'smtp has no capability "START-TLS"; did you mean "STARTTLS"?'),
        ("smtp", "STLS", 'smtp has no capability "STLS"; '),
        ("pop3", "STARTTLS", 'pop3 has no capability "STARTTLS"; '),
        ("pop3", "qqqq", 'pop3 has no capability "QQQQ"; allowed: "AUTH-RESP-CODE", '),
    ],
)
def test_a_capability_that_is_never_shown(mailserver: MailServer, protocol: str, name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        getattr(mailserver, protocol).hide(name)


def test_a_capability_of_a_profile() -> None:
    with MailServer(profile="exchange") as server:
        for keyword in listed(server)[0]:
            server.smtp.hide(keyword)
        assert listed(server)[0] == set()
