"""Mailboxes and waiting, as a test sees them."""

import poplib
import smtplib
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any

import pytest

from mailserver.testing.message import CaughtMessage
from mailserver.testing.server import MailServer


def send(server: MailServer, to: str) -> None:
    with smtplib.SMTP(server.smtp.host, server.smtp.port) as client:
        client.sendmail("shop@example.test", [to], "Subject: x\r\n\r\nhello\r\n")


def fetch(server: MailServer, user: str, password: str = "any") -> list[list[bytes]]:
    client = poplib.POP3(server.pop3.host, server.pop3.port, timeout=5)
    client.user(user)
    client.pass_(password)
    found = [client.retr(number)[1] for number in range(1, client.stat()[0] + 1)]
    client.quit()
    return found


@pytest.mark.parametrize("user", ["bob", "BOB@example.test", "bob@EXAMPLE.test"])
def test_names_in_any_case_are_one_account(mailserver: MailServer, user: str) -> None:
    send(mailserver, "Bob@Example.test")
    send(mailserver, "bob@example.test")
    assert len(fetch(mailserver, user)) == 2
    assert [message.recipients for message in mailserver.mailboxes["bob@example.test"]] == [
        ("Bob@example.test",),
        ("bob@example.test",),
    ]


def test_an_added_account_has_a_name_in_any_case() -> None:
    with MailServer(accept="accounts") as server:
        assert server.add_account("Bob@Example.test", "right") == "bob@example.test"
        send(server, "bOb@example.test")
        assert len(fetch(server, "BOB", "right")) == 1
        with pytest.raises(poplib.error_proto):
            fetch(server, "bob", "wrong")


def test_delivered_lines_end_in_crlf(mailserver: MailServer) -> None:
    message = mailserver.deliver(b"Subject: x\n\nhello\r\nworld\n", to="bob")
    assert message.raw == b"Subject: x\r\n\r\nhello\r\nworld\r\n"
    assert fetch(mailserver, "bob") == [[b"Subject: x", b"", b"hello", b"world"]]
    assert mailserver.mailboxes["nobody@example.test"] == []


def an_email() -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = "caf\u00e9"
    made.set_content("From here\n")
    return made


@pytest.mark.parametrize(
    "message",
    [
        an_email(),
        message_from_bytes(an_email().as_bytes()),
        an_email().as_bytes(),
        "Subject: caf\u00e9\n\nFrom here\n",
    ],
)
def test_messages_of_all_types_are_delivered(mailserver: MailServer, message: Any) -> None:
    delivered = mailserver.deliver(message, to="bob")
    assert (delivered.subject, delivered.text) == ("caf\u00e9", "From here\n")
    assert b"\n" not in delivered.raw.replace(b"\r\n", b"")
    with pytest.raises(TypeError, match=r"bytes, str or email.message.Message, not int"):
        mailserver.deliver(7, to="bob")  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["B\u00dcRO@b\u00fcro.test", "b\u00fcro@xn--bro-hoa.test"])
def test_any_spelling_finds_a_mailbox(mailserver: MailServer, address: str) -> None:
    message = mailserver.deliver(b"Subject: x\r\n\r\n", to="b\u00fcro@b\u00fcro.test")
    own = mailserver.deliver(b"Subject: x\r\n\r\n", to="bob")
    assert mailserver.mailboxes[address] == [message]
    assert mailserver.mailboxes["bob"] == mailserver.mailboxes["bob@example.test"] == [own]
    assert mailserver.mailboxes["bob@other.test"] == mailserver.mailboxes["not an address"] == []
    assert len(mailserver.mailboxes) == 2


def test_a_condition_may_talk_to_the_server(mailserver: MailServer) -> None:
    def is_fetched(message: CaughtMessage) -> bool:
        return bool(fetch(mailserver, message.mailbox))

    mailserver.deliver(b"Subject: x\r\n\r\n", to="bob")
    assert mailserver.wait_for(where=is_fetched)


def test_refusing_and_listening_again_and_again(mailserver: MailServer) -> None:
    for _ in range(2):
        mailserver.smtp.refuse()
        mailserver.smtp.refuse()
        with pytest.raises(ConnectionRefusedError):
            send(mailserver, "bob@example.test")
        mailserver.smtp.listen()
        mailserver.smtp.listen()
        send(mailserver, "bob@example.test")


def test_a_test_may_stop_its_server(mailserver: MailServer) -> None:
    send(mailserver, "bob@example.test")
    mailserver.smtp.on("RCPT").close().optional()
    mailserver.stop()
    mailserver.stop()
    (message,) = mailserver.messages
    assert mailserver.mailboxes == {"bob@example.test": [message]}
    assert mailserver.wait_for(to="bob@example.test") == message
    assert len(mailserver.sessions) == len(list(mailserver.rules)) == 1
    assert mailserver.outbox == []
    with pytest.raises(RuntimeError, match="the server does not run"):
        mailserver.reset()


@pytest.mark.parametrize("name", ["smtps", "smtps_url", "pop3s", "pop3s_url"])
def test_a_server_without_tls_has_no_port_for_it(name: str) -> None:
    with (
        MailServer(tls=False) as server,
        pytest.raises(ValueError, match=r"no port \w+: it was made with tls="),
    ):
        getattr(server, name)
