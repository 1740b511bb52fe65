"""A message through a reception: its transaction, envelope and header fields, and what the log says of it."""

from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent
from zope.interface import implementer

from mailserver.errors import MailboxFull, StorageError, StorageFull
from mailserver.mail.address import Address
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Defer, Refuse
from mailserver.reception.checks import ACCEPTED, IRoutedCheck, ISenderCheck
from mailserver.reception.receiver import FULL, MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client, Recipient, Transaction
from tests.support.fakes import stand_in
from tests.support.net.fakes import FakeRouter, FakeSpool

ALICE, BOB, CAROL = (Address(name, "example.org") for name in ("alice", "bob", "carol"))
CLIENT = Client(ip="192.0.2.1", helo="c.example", protocol="ESMTPA", account=ALICE)


@implementer(ISenderCheck, IRoutedCheck)
class Mark:
    """Adds a header field for the sender, and one for each recipient but carol."""

    def check_sender(self, transaction: Transaction) -> Accept:
        return Accept("Ok", f"X-Sender: {transaction.reverse_path}\r\n".encode())

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> Accept:
        if recipient.address == CAROL:
            return ACCEPTED
        return Accept("Ok", f"X-Recipient: {recipient.address}\r\n".encode())


def reception(spool: FakeSpool, *checks: object, **options: Any) -> Reception:
    options |= {"hostname": "mail.example.org", "listener": "listen[1]", "now": lambda: 0.0}
    return Reception(stand_in(FakeRouter()), stand_in(spool), checks, **options)


def test_a_message_and_its_header_fields() -> None:
    spool = FakeSpool()
    receiver = MailReceiver(reception(spool, Mark()))
    receiver.sender(CLIENT, ALICE, {"SIZE": "1000"})
    for recipient in (BOB, CAROL):
        receiver.recipient(recipient, {})
    transaction = receiver.transaction
    assert transaction is not None
    assert (transaction.client, transaction.reverse_path) == (CLIENT, ALICE)
    assert (transaction.listener, transaction.parameters) == ("listen[1]", {"SIZE": "1000"})
    assert [each.address for each in transaction.recipients] == [BOB, CAROL]
    receiver.start()
    receiver.write(b"Subject: x\r\n\r\nhello\r\n")
    done = receiver.finish()
    (message,) = spool.messages
    assert message.envelope == transaction.envelope()
    added, received = message.trace.split(b"Received: ")
    assert added == b"X-Sender: alice@example.org\r\nX-Recipient: bob@example.org\r\n"
    assert received.startswith(b"from c.example ([192.0.2.1])\r\n\tby mail.example.org with ESMTPA id ")
    with capturedLogs() as events:
        message.commits.callback(None)
    assert done.result == Accept(f"Ok: queued as {transaction.id}")
    (event,) = events
    assert formatEvent(event) == (
        f"{transaction.id}: accepted: <alice@example.org> to <bob@example.org>, <carol@example.org> "
        "(client 192.0.2.1, 21 octets)"
    )
    assert event["account"] == "alice@example.org"
    receiver.sender(CLIENT, ALICE, {})
    assert receiver.transaction is not None
    assert receiver.transaction.id != transaction.id and receiver.transaction.recipients == ()


@implementer(ISenderCheck)
class NotAlice:
    """Rejects alice's mail."""

    def check_sender(self, transaction: Transaction) -> Accept | Refuse:
        return Refuse(NOT_AUTHORIZED, "no", "x") if transaction.reverse_path == ALICE else ACCEPTED


def test_a_rejected_sender_begins_no_transaction() -> None:
    receiver = MailReceiver(reception(FakeSpool(), NotAlice()))
    assert receiver.sender(CLIENT, BOB, {}) is ACCEPTED and receiver.transaction is not None
    assert receiver.sender(CLIENT, ALICE, {}) == Refuse(NOT_AUTHORIZED, "no", "x")
    assert receiver.transaction is None


@pytest.mark.parametrize(
    ("error", "kind", "key", "outcome"),
    [
        (MailboxFull("no", ("b@c.example",)), Refuse, "storage.quota", "info: rejected: no: <b@c.example>"),
        (StorageFull("no space"), Defer, "storage.reserve", "error: deferred: no space"),
        (StorageError("I/O error"), Defer, "storage", "error: deferred: I/O error"),
    ],
)  # fmt: skip
def test_a_message_that_is_not_stored(error: Exception, kind: type, key: str, outcome: str) -> None:
    spool = FakeSpool()
    receiver = MailReceiver(reception(spool))
    receiver.sender(CLIENT, None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    done = receiver.finish()
    with capturedLogs() as events:
        spool.messages[0].commits.errback(error)
    verdict = done.result
    assert isinstance(verdict, kind) and verdict.key == key  # type: ignore[attr-defined]
    (event,) = events
    level, what, why = outcome.split(": ", 2)
    assert event["log_level"].name == level
    assert formatEvent(event).partition(": ")[2] == (
        f"{what}: <> to <bob@example.org>: {why} (client 192.0.2.1, {key})"
    )


def test_each_recipient_has_a_verdict() -> None:
    """LMTP: only the recipients of full mailboxes reject the message."""
    spool = FakeSpool()
    receiver = MailReceiver(reception(spool))
    receiver.sender(CLIENT, None, {})
    for recipient in (BOB, CAROL, ALICE, BOB):
        receiver.recipient(recipient, {})
    receiver.start()
    done = receiver.finish_for_each()
    (message,) = spool.messages
    assert message.together == [{BOB.key}, {CAROL.key}, {ALICE.key}, {BOB.key}]
    with capturedLogs() as events:
        message.commits.callback({BOB.key})
    assert receiver.transaction is not None
    accepted = Accept(f"Ok: queued as {receiver.transaction.id}")
    assert done.result == [FULL, accepted, accepted, FULL]
    assert [formatEvent(event).partition(": ")[2] for event in events] == [
        "rejected: <> to <bob@example.org>, <bob@example.org>: the mailbox is full "
        "(client 192.0.2.1, storage.quota)",
        "accepted: <> to <carol@example.org>, <alice@example.org> (client 192.0.2.1, 0 octets)",
    ]


def test_a_verdict_on_the_message_is_that_of_each_recipient() -> None:
    spool = FakeSpool()
    receiver = MailReceiver(reception(spool))
    receiver.sender(CLIENT, None, {})
    for recipient in (BOB, CAROL):
        receiver.recipient(recipient, {})
    receiver.start()
    done = receiver.finish_for_each()
    spool.messages[0].commits.errback(MailboxFull("no", ("b@c.example",)))
    assert done.result == [FULL, FULL]


@pytest.mark.parametrize(("end", "lines"), [("reject", 1), ("abandon", 0)])
def test_a_message_that_has_no_end(end: str, lines: int) -> None:
    spool = FakeSpool()
    receiver = MailReceiver(reception(spool))
    receiver.sender(CLIENT, None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    receiver.write(b"half a mess")
    with capturedLogs() as events:
        getattr(receiver, end)(*(("a bare newline", "smtp.bare_newline") if end == "reject" else ()))
        receiver.abandon()
    assert spool.messages[0].state == "abandoned"
    assert len(events) == lines


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, b"Bcc: x\r\n"),
        ({"complete_header": True}, b"Bcc: x\r\nDate: "),
        ({"complete_header": True, "remove_bcc": True}, b"Date: "),
    ],
)
def test_the_header_of_a_submitted_message_is_completed(options: dict[str, Any], fields: bytes) -> None:
    spool = FakeSpool()
    receiver = MailReceiver(reception(spool, **options))
    receiver.sender(CLIENT, None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    receiver.write(b"Bcc: x\r\n\r\n")
    receiver.finish()
    assert b"".join(spool.messages[0].chunks).startswith(fields)


@pytest.mark.parametrize("hidden", [False, True])
def test_the_client_may_be_hidden(hidden: bool) -> None:
    spool = FakeSpool()
    receiver = MailReceiver(reception(spool, hide_client=hidden))
    receiver.sender(CLIENT, None, {})
    receiver.recipient(BOB, {})
    receiver.start()
    assert (b"192.0.2.1" not in spool.messages[0].trace) == hidden
