"""``sendmail`` in the server: the transaction of a local program, what is rejected, and with which status."""

import os
from io import FileIO
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from zope.interface import implementer

from mailserver.commands.sendmail import PIECE, LocalSubmission
from mailserver.config.keys.smtp import SmtpSection
from mailserver.control.channel import CommandFailed, CommandOutcome
from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.mail.verdict import MAIL_SYSTEM, MAILBOX_FULL, NOT_AUTHORIZED, Defer, Refuse
from mailserver.reception.checks import ACCEPTED, IRoutedCheck, ISenderCheck
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Recipient, Transaction
from tests.support.fakes import stand_in
from tests.support.faulty_calls import open_files
from tests.support.net.fakes import FakeRouter, FakeSpool
from tests.support.reactor import FakeReactor


@implementer(ISenderCheck, IRoutedCheck)
class Opinions:
    """Rejects by the local part."""

    def check_sender(self, transaction: Transaction) -> Any:
        path = transaction.reverse_path
        return Refuse(NOT_AUTHORIZED, "not yours", "x") if path and path.local == "mallory" else ACCEPTED

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> Any:
        match recipient.address.local:
            case "busy":
                return Defer(MAIL_SYSTEM, "later", "x")
            case "full":
                return Refuse(MAILBOX_FULL, "the mailbox is full", "x")
            case "outside":
                return Refuse(NOT_AUTHORIZED, "relaying denied", "x")
        return ACCEPTED


class Site:
    def __init__(self, folder: Path) -> None:
        self.spool = FakeSpool()
        self.folder = folder
        self.section = SmtpSection()
        self.reactor = FakeReactor()
        reception = Reception(
            stand_in(FakeRouter()), stand_in(self.spool), [Opinions()], hostname="mail.example.org",
            complete_header=True, remove_bcc=True, now=lambda: 0.0,
        )  # fmt: skip
        self.submission = LocalSubmission(
            lambda: reception, lambda: self.section, "example.org", stand_in(self.reactor)
        )

    def begin(self, message: bytes, *recipients: str, **members: object) -> "Deferred[CommandOutcome]":
        path = self.folder / "message"
        path.write_bytes(message)
        request = {
            "recipients": list(recipients),
            "reverse_path": "ann",
            "author": "ann",
            "uid": 1000,
            **members,
        }
        with FileIO(path) as content:
            return Deferred.fromCoroutine(self.submission.run({"content": content, **request}))

    def run(self, message: bytes, *recipients: str, **members: object) -> CommandOutcome:
        running = self.begin(message, *recipients, **members)
        if not running.called:
            self.spool.messages[-1].commits.callback(None)
        assert isinstance(running.result, CommandOutcome), running.result
        return running.result


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


MESSAGE = b"Subject: x\r\nBcc: carol\r\n\r\nhello\r\n.\r\n"


def test_a_message(site: Site) -> None:
    outcome = site.run(
        MESSAGE, "bob", "bob@example.org", "Dave@Elsewhere.example", name='Ann "A" Smith', ret="HDRS",
        envid="e1", notify="NEVER",
    )  # fmt: skip
    (message,) = site.spool.messages
    envelope = message.envelope
    assert outcome == CommandOutcome((f"queued as {envelope.id}",))
    assert envelope.reverse_path == Address("ann", "example.org")
    assert list(map(str, envelope.recipients)) == ["bob@example.org", "Dave@elsewhere.example"]
    assert message.trace.startswith(
        f"Received: by mail.example.org (from userid 1000)\r\n\tid {envelope.id};\r\n\t".encode()
    )
    content = b"".join(message.chunks)
    header, _, text = content.partition(b"\r\n\r\n")
    first, *added = header.split(b"\r\n")
    assert (first, text) == (b"Subject: x", b"hello\r\n.\r\n")
    assert added[0] == b'From: "Ann \\"A\\" Smith" <ann@example.org>'
    assert [line.split(b":")[0] for line in added[1:]] == [b"Date", b"Message-ID"]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("", b"From: ann@example.org"),
        ("Ann Smith", b"From: Ann Smith <ann@example.org>"),
        ("Ann, Smith", b'From: "Ann, Smith" <ann@example.org>'),
        ("Ann\r\nBcc: x", b"From: ann@example.org"),
        ("J\u00fcrgen", b"From: =?utf-8?q?J=C3=BCrgen?= <ann@example.org>"),
    ],
)
def test_the_author(site: Site, name: str, field: bytes) -> None:
    site.run(b"Subject: x\r\n\r\n", "bob", name=name)
    assert field in b"".join(site.spool.messages[0].chunks).split(b"\r\n")


def test_the_null_reverse_path(site: Site) -> None:
    assert site.run(b"From: x\r\n\r\n", "bob", reverse_path="").status == 0
    (message,) = site.spool.messages
    assert message.envelope.reverse_path is None
    assert message.trace.endswith(b"for <bob@example.org>;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n")


@pytest.mark.parametrize(
    ("recipients", "members", "status", "line"),
    [
        (["nobody"], {}, 67, "<nobody@example.org>: not here"),
        (["bob", "nobody", "busy"], {}, 67, "<nobody@example.org>: not here; <busy@example.org>: later"),
        (["busy", "nobody"], {}, 67, "<busy@example.org>: later; <nobody@example.org>: not here"),
        (["bob", "busy"], {}, 75, "<busy@example.org>: later"),
        (["full"], {}, 69, "<full@example.org>: the mailbox is full"),
        (["outside"], {}, 77, "<outside@example.org>: relaying denied"),
        (["bob"], {"reverse_path": "mallory"}, 77, "sender <mallory@example.org>: not yours"),
        (["a b"], {}, 65, "invalid address 'a b': the local part has an invalid character"),
        (["bob@"], {}, 65, "invalid address 'bob@': the domain is missing"),
        (["bob"], {"reverse_path": "@"}, 65, "invalid address '@': the local part is missing or starts with"),
        ([f"user{number}" for number in range(1001)], {}, 65, "the message has more than 1000 recipients"),
    ],
)
def test_rejections(
    site: Site, recipients: list[str], members: dict[str, object], status: int, line: str
) -> None:
    with capturedLogs() as events:
        outcome = site.run(MESSAGE, *recipients, **members)
    assert outcome.status == status and outcome.lines[0].startswith(line)
    assert site.spool.messages == []
    assert [event["log_namespace"] for event in events] == ["mailserver.CommandRejected"] * (
        line.count(">: ") if status != 65 else 0
    )


def test_limits_of_the_message(site: Site) -> None:
    site.section = attrs.evolve(site.section, max_message_size=10, hop_limit=2)
    assert site.run(MESSAGE, "bob") == CommandOutcome(("the message is larger than 10 octets",), 65)
    site.section = attrs.evolve(site.section, max_message_size=1000)
    with capturedLogs() as events:
        outcome = site.run(b"Received: x\r\n" * 2 + b"\r\n", "bob")
    assert outcome == CommandOutcome(("too many hops; possible mail loop",), 69)
    assert [event["log_namespace"] for event in events] == ["mailserver.MessageRejected"]
    assert [message.state for message in site.spool.messages] == ["abandoned"]
    assert site.run(b"Received: x\r\n\r\n", "bob").status == 0


def test_storage_that_fails(site: Site) -> None:
    running = site.begin(MESSAGE, "bob")
    site.spool.messages[0].commits.errback(StorageError("no"))
    assert running.result == CommandOutcome(
        ("the message cannot be stored now; please try again later",), os.EX_TEMPFAIL
    )


def test_a_large_message_is_read_in_pieces(site: Site) -> None:
    message = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * (2 * PIECE)
    assert site.run(message, "bob").status == 0
    chunks = site.spool.messages[0].chunks
    assert max(map(len, chunks)) <= PIECE + 1000
    assert b"".join(chunks).endswith(message[12:])


def test_a_file_that_cannot_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bytes:
        raise OSError("input/output error")

    monkeypatch.setattr(os, "pread", fail)
    running = site.begin(MESSAGE, "bob")
    failed: list[Any] = []
    running.addErrback(failed.append)
    assert failed[0].check(OSError)
    assert [message.state for message in site.spool.messages] == ["abandoned"]


@pytest.mark.parametrize("request_", [{"recipients": ["a"]}, {"recipients": ["a"], "content": "file"}])
def test_no_content(site: Site, request_: dict[str, object]) -> None:
    running = Deferred.fromCoroutine(site.submission.run(request_))
    failed: list[Any] = []
    running.addErrback(failed.append)
    assert failed[0].check(CommandFailed)


def test_the_message_file_is_closed(site: Site) -> None:
    for recipients in (["bob"], ["nobody"], ["a b"]):
        site.run(MESSAGE, *recipients)
    assert open_files(site.folder) == []
