"""The log lines of messages: each names the message, client, sender and recipients, and the reason."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs

from mailserver.errors import MailboxFull, StorageError, StorageFull
from mailserver.logs.lines import json_line
from mailserver.mail.address import Address
from mailserver.mail.verdict import MAILBOX_FULL, Refuse
from mailserver.net.connection import Connection
from mailserver.net.smtp import SMTPFactory
from mailserver.reception.reception import Reception
from mailserver.smtp.options import SMTPOptions
from tests.support.fakes import stand_in
from tests.support.net.fakes import FakeAuthenticator, FakeRouter, FakeSpool, connect, context
from tests.support.reactor import FakeReactor

OPTIONS = SMTPOptions(hostname="mail.example.org", domain="example.org")


class FullRouter(FakeRouter):
    """The mailbox of full@ has no room."""

    def route(self, recipient: Address) -> object:
        if recipient.local == "full":
            return Refuse(MAILBOX_FULL, "the mailbox is full", "storage.quota")
        return super().route(recipient)


class Setup:
    """A factory, and clients at 192.0.2.1."""

    def __init__(self) -> None:
        self.spool = FakeSpool()
        reactor = FakeReactor()
        reception = Reception(stand_in(FullRouter()), stand_in(self.spool), hostname="mail.example.org")
        self.factory = SMTPFactory(
            context(reactor),
            lambda ip: OPTIONS,
            lambda: reception,
            stand_in(FakeAuthenticator()),
            stand_in(reactor),
        )

    def client(self, first: bytes) -> Connection:
        connection, _ = connect(self.factory)
        connection.dataReceived(first)
        return connection


MANY = "".join(f"RCPT TO:<u{number}@example.org>\r\n" for number in range(150)).encode()


def send(recipients: bytes, outcome: Exception | None) -> Callable[[Setup], str]:
    """A message whose commit comes to this; its id."""

    def run(setup: Setup) -> str:
        connection = setup.client(b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n" + recipients)
        connection.dataReceived(b"DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n")
        message = setup.spool.messages[-1]
        message.commits.callback(None) if outcome is None else message.commits.errback(outcome)
        return str(message.envelope.id)

    return run


def refused_text(setup: Setup) -> str:
    connection = setup.client(b"EHLO c.example\r\nMAIL FROM:<>\r\n" + ONE)
    connection.dataReceived(b"DATA\r\n")
    id_ = str(setup.spool.messages[-1].envelope.id)
    connection.dataReceived(b"Subject: x\r\n\r\nhi\n.\n")
    connection.dataReceived(b".\r\n.\r\n")
    return id_


ONE = b"RCPT TO:<bob@example.org>\r\n"
TWO = b"RCPT TO:<bob@example.org>\r\nRCPT TO:<carol@example.org>\r\n"
BOB = "bob@example.org"
FULL = MailboxFull("the mailbox is full", (BOB,))
CASES: list[tuple[Callable[[Setup], str], str, str, str, str]] = [
    (
        send(ONE, None),
        "info",
        "accepted: <a@b.example> to <bob@example.org> (client 192.0.2.1, 18 octets)",
        "",
        "",
    ),
    (
        send(TWO, None),
        "info",
        "accepted: <a@b.example> to <bob@example.org>, <carol@example.org> (client 192.0.2.1, 18 octets)",
        "",
        "",
    ),
    (
        send(ONE, FULL),
        "info",
        "rejected: <a@b.example> to <bob@example.org>: the mailbox is full: ('bob@example.org',) "
        "(client 192.0.2.1, storage.quota)",
        "the mailbox is full",
        "storage.quota",
    ),
    (
        send(ONE, StorageFull("the disk is full but for the reserve")),
        "error",
        "deferred: <a@b.example> to <bob@example.org>: the disk is full but for the reserve "
        "(client 192.0.2.1, storage.reserve)",
        "the disk is full but for the reserve",
        "storage.reserve",
    ),
    (
        send(ONE, StorageError("I/O error")),
        "error",
        "deferred: <a@b.example> to <bob@example.org>: I/O error (client 192.0.2.1, storage)",
        "I/O error",
        "storage",
    ),
    (refused_text, "info", "rejected: <> to <bob@example.org>: ", "lin", "smtp.bare_newline"),
]


def of(events: list[LogEvent], id_: str) -> dict[str, Any]:
    (event,) = [event for event in events if event.get("id") == id_]
    fields: dict[str, Any] = json.loads(json_line(event) or "")
    return fields


@pytest.fixture
def setup() -> Setup:
    return Setup()


@pytest.mark.parametrize(("run", "level", "text", "reason", "rule"), CASES)
def test_a_message(
    setup: Setup, run: Callable[[Setup], str], level: str, text: str, reason: str, rule: str
) -> None:
    with capturedLogs() as events:
        id_ = run(setup)
    fields = of(list(events), id_)
    assert fields["event"].startswith(f"{id_}: {text}".replace("('bob@example.org',)", "<bob@example.org>"))
    assert fields["level"] == level
    assert (fields["client"], fields["recipients"][0]) == ("192.0.2.1", BOB)
    assert fields["sender"] in ("<a@b.example>", "<>")
    assert reason in fields.get("reason", "") and fields.get("rule", "") == rule


def test_many_recipients(setup: Setup) -> None:
    with capturedLogs() as events:
        id_ = send(MANY, None)(setup)
    fields = of(list(events), id_)
    assert "to <u0@example.org>, <u1@example.org>, <u2@example.org> and 147 more (" in fields["event"]
    assert len(fields["recipients"]) == 100


def test_a_recipient_that_is_full(setup: Setup) -> None:
    """Refused before there is a message: no id, but sender, recipient, client and key."""
    with capturedLogs() as events:
        setup.client(b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<full@example.org>\r\n")
    (event,) = [event for event in events if event.get("reason") == "the mailbox is full"]
    fields = json.loads(json_line(event) or "")
    assert "<a@b.example> to <full@example.org>" in fields["event"]
    assert (fields["client"], fields["rule"]) == ("192.0.2.1", "storage.quota")
