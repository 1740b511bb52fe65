"""What `mailserver queue` and `mailserver verify` say of a spool."""

import attrs
import pytest

from mailserver.mail.finding import Finding
from mailserver.mail.queued import HELD, FailedAttempt
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import MAILBOX_FULL, Destination
from mailserver.queue.selection import Selection
from mailserver.queue.show import detail_lines, message_lines, message_object, summary_line, summary_object
from mailserver.queue.sqlite.verify import verify
from tests.support.store.messages import ALICE, BOB, MESSAGE

NOW = 0.0


@pytest.fixture
def waiting(spools):
    """One message that is delivered to alice, and waits for room in bob's mailbox."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, Destination(BOB, BOB)))
    return spools


def page(spools):
    return spools.spool.view.page(Selection(), 0, 10)


def test_an_empty_queue(spools):
    assert page(spools) == spools.spool.view.summary() == spools.spool.view.find("none") == []


def test_a_queue(waiting):
    (one,) = page(waiting)
    first, second = message_lines(one, NOW)
    assert first.endswith(f"  {len(MESSAGE)} octets  from <me@x.example>")
    assert second.startswith("    waiting: bob@example.org: the mailbox is full; 1 attempt, next 20")
    found = message_object(one, 0.0)
    (who,) = found.pop("recipients")
    assert found == {
        "id": one.id, "received": "2023-11-14T22:13:20Z", "sender": "me@x.example", "size": len(MESSAGE),
    }  # fmt: skip
    assert who == {
        "address": "bob@example.org", "original": "bob@example.org", "destination": "local",
        "state": "waiting", "attempts": 1, "next": "2023-11-14T22:18:20Z",
        "last": {
            "time": "2023-11-14T22:13:20Z", "status": "4.2.2", "reason": "the mailbox is full", "host": "",
            "reply": "",
        },
    }  # fmt: skip


def test_a_summary(waiting):
    (one,) = waiting.spool.view.summary()
    assert summary_line(one) == (
        "local  1 recipient, oldest 2023-11-14T22:13:20Z, next 2023-11-14T22:18:20Z: the mailbox is full"
    )
    found = summary_object(one)
    assert found.pop("last")["status"] == "4.2.2"
    assert found == {
        "destination": "local", "recipients": 1, "held": 0, "oldest": "2023-11-14T22:13:20Z",
        "next": "2023-11-14T22:18:20Z",
    }  # fmt: skip


def test_the_words_of_another_server(waiting):
    attempt = FailedAttempt(0.0, MAILBOX_FULL, "greylisted", "mx.example.net", "450 4.7.1 later")
    (one,) = page(waiting)
    (who,) = one.recipients
    for text, shown in (
        ("greylisted", "greylisted (mx.example.net: 450 4.7.1 later)"),
        ("450 4.7.1 later!", ""),
    ):
        last = attrs.evolve(attempt, text=text)
        who = attrs.evolve(who, last=last, error=text, next=HELD)
        (_, line) = message_lines(attrs.evolve(one, recipients=(who,)), NOW)
        assert line == f"    held: bob@example.org: {shown or text}; 1 attempt"


def test_damaged_values(waiting):
    waiting.engine._database.commit(
        [("UPDATE recipient SET next = 'x', attempts = 'y', history = '[1]', address = 7", ())]
    )
    (one,) = page(waiting)
    (_, line) = message_lines(one, NOW)
    assert "'y' attempts (damaged), next 'x' (damaged)" in line and "history is invalid" in line
    (who,) = message_object(one, 0.0)["recipients"]
    assert (who["state"], who["next"], who["attempts"], who["last"]) == ("damaged", None, None, None)
    assert [one.last for one in waiting.spool.view.summary()] == [None]


def test_a_message_that_is_not_synced(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    (one,) = page(spools)
    (line,) = message_lines(one, NOW)
    assert line.endswith(", delivered, not yet synced")
    assert spools.spool.view.page(Selection(domain="example.org"), 0, 10) == []


def test_one_message(waiting):
    (one,) = page(waiting)
    (shown,) = waiting.spool.view.find(one.id)
    lines = list(detail_lines(shown, NOW))
    assert lines[0] == f"id: {one.id}"
    assert lines[2:5] == [
        "reverse-path: <me@x.example>",
        f"size: {len(MESSAGE)} octets",
        "delivered, not yet synced: example.org/alice",
    ]
    assert lines[-2:] == ["", "Subject: hello"]


def test_all_is_well(waiting):
    path = waiting.root / "spool/queue.db"
    assert list(verify(path)) == ["queued message"]


DAMAGE = {
    "UPDATE entry SET copies = '[1]'": "copies are invalid",
    "UPDATE entry SET content = x'00'": "content does not match its checksum",
    "UPDATE entry SET content = 'text'": "content is not octets",
    "UPDATE entry SET content = NULL": "content is missing",
    "UPDATE queued SET content = ''": "content is missing",
    "UPDATE queued SET content = 'id.7'": "content is missing",
    "UPDATE queued SET octets = 5": "content has",
    "UPDATE queued SET checksum = 5": "does not match its checksum",
    "UPDATE recipient SET address = 'nobody'": "recipient of message 1: ",
    "DELETE FROM queued": "recipients without a message",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage(waiting, damage):
    path = waiting.root / "spool/queue.db"
    waiting.engine._database.commit([(damage, ())])
    (finding,) = [one for one in verify(path) if isinstance(one, Finding)]
    assert finding.path == path
    assert DAMAGE[damage] in finding.wrong
