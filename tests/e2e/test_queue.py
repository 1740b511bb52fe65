"""`mailserver queue`: what waits, seen in a running server, after its end, and after a kill."""

import json
import smtplib
import time

import pytest

from mailserver.durable.disk import Disk
from mailserver.interfaces import QueuedMessage
from mailserver.mail.queued import LOCAL, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import MAILBOX_FULL
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.sqlite.engine import SQLiteSpool
from tests.support.e2e.commands import Ended, begin, end, mailserver
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import Makes, Server, configuration

TABLES = """
[storage]
quota = "1 KiB"
[[account]]
address = "bob"
password = "bob's secret"
quota = 1
[[list]]
address = "club"
members = ["alice", "bob"]
"""
MESSAGE = b"Subject: to the club\r\n\r\nHello\r\n"


def see(server: Server, id_: str) -> None:
    status, (first, second, last), errors = mailserver(server, "queue", "list")
    assert (status, errors) == (0, [])
    assert first.startswith(f"{id_}  20") and first.endswith(f"{len(MESSAGE)} octets  from <{SENDER}>")
    assert second.startswith("    waiting: bob@example.org: the mailbox is full; 1 attempt, next 20")
    assert last == "1 message, 1 recipient waiting"
    status, lines, errors = mailserver(server, "queue", "list", "--json", "--domain", "example.org")
    (found,) = json.loads("\n".join(lines))
    assert (status, errors, found["id"], found["recipients"][0]["last"]["status"]) == (0, [], id_, "4.2.2")
    status, lines, errors = mailserver(server, "queue", "show", id_)
    assert (status, lines[0], lines[-1], errors) == (0, f"id: {id_}", "Subject: to the club", [])


def test_queue(make_server: Makes) -> None:
    server = make_server(configuration(accounts=["alice"], tables=TABLES)).start()
    assert mailserver(server, "queue", "list") == (0, ["0 messages, 0 recipients waiting"], [])
    assert mailserver(server, "queue", "show", "x") == (1, [], ["mailserver: no message x is in the queue"])
    with smtplib.SMTP(*server.smtp, timeout=20) as client:
        client.ehlo()
        client.mail(SENDER)
        client.rcpt("club@example.org")
        code, text = client.data(MESSAGE)
    assert code == 250
    assert len(Mailbox(server, "alice").messages()) == 1
    id_ = text.split()[-1].decode()
    server.stop()  # and so nothing is unsynced
    see(server, id_)
    server.start()
    see(server, id_)
    server.kill()
    see(server, id_)
    change(server, id_)
    server.start()
    change(server, id_)
    assert run(server, "queue", "expire", "--all") == (0, ["1 recipient of 1 message: expired"], [])
    # the bounce waits, too
    assert run(server, "queue", "remove", "--all") == (0, ["1 recipient of 1 message: removed"], [])
    assert mailserver(server, "queue", "list", "--json") == (0, ["[", "]"], [])
    assert "RecipientsReleased" in server.log


def run(server: Server, *words: str) -> Ended:
    """In a process of its own while no server runs: a reactor runs once."""
    return mailserver(server, *words) if server.process else end(begin(server, *words))


def change(server: Server, id_: str) -> None:
    """Hold and release; and what is wrong usage."""
    assert run(server, "queue", "hold", id_) == (0, ["1 recipient of 1 message: held"], [])
    assert "    held: bob@example.org: the mailbox is full; " in mailserver(server, "queue", "list")[1][1]
    status, (line, total), errors = mailserver(server, "queue", "summary")
    assert (status, total, errors) == (0, "1 destination, 1 recipient waiting", [])
    assert line.startswith("local  1 recipient, 1 held, oldest 20")
    (one,) = json.loads("\n".join(mailserver(server, "queue", "summary", "--json")[1]))
    assert (one["destination"], one["held"], one["next"]) == ("local", 1, None)
    status, [line], errors = mailserver(server, "queue", "show", "--json", id_)
    assert json.loads(line)["header"] == "Subject: to the club\r\n"
    none = (1, [], ["mailserver: no recipient in the queue meets the conditions"])
    assert run(server, "queue", "retry", "--all") == none
    assert run(server, "queue", "release", "--recipient", "bob@example.org")[0] == 0
    for words in (["retry"], ["remove", "--all", "x"], ["hold", "--state", "new"], ["release", "--nonsense"]):
        status, out, [line] = mailserver(server, "queue", *words)
        assert (status, out) == (2, []) and "--help" in line


@pytest.mark.parametrize("due", [150, 3_000])
def test_sigterm_while_very_many_copies_are_due(make_server: Makes, due: int) -> None:
    """The server ends within the grace, and the copies wait for its next start."""
    server = make_server(configuration(accounts=["alice"], tables=TABLES)).start()
    server.stop()
    content = InMemoryContent(b"hello")
    history = (FailedAttempt(0.0, MAILBOX_FULL, ""),)
    bob = QueuedRecipient(1, LOCAL, "bob@example.org", "bob@example.org", "", b"", 1, 0.0, history)
    spool = SQLiteSpool(server.data / "spool/queue.db", Disk())
    spool.open()
    transaction = spool.begin()
    for seq in range(1, due + 1):
        transaction.enqueue(QueuedMessage(seq, f"id{seq}", 0.0, "", 5, content), [bob])
    transaction.commit()
    spool.close()
    server.start()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5.0


def test_etrn(make_server: Makes) -> None:
    server = make_server(configuration(tables='[relay]\ndomains = ["example.net"]')).start()
    with smtplib.SMTP(*server.smtp, timeout=20) as client:
        client.ehlo()
        assert client.has_extn("etrn")
        assert client.docmd("ETRN", "example.net") == (
            251,
            b"2.0.0 OK, no messages waiting for node example.net",
        )
        assert client.docmd("ETRN", "elsewhere.example")[0] == 459
    assert "rejected elsewhere.example from 127.0.0.1: this server keeps no mail for it" in server.log
