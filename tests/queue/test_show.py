"""What `mailserver queue` and `mailserver verify` say of a spool."""

import pytest

from mailserver.interfaces import Quota
from mailserver.mail.finding import Finding
from mailserver.mail.verdict import Destination
from mailserver.queue.show import message, queue
from mailserver.queue.sqlite.verify import verify
from tests.support.store.messages import ALICE, BOB, MESSAGE


@pytest.fixture
def waiting(spools):
    """One message that is delivered to alice, and waits for room in bob's mailbox."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, Destination(BOB, BOB)))
    return spools


def test_an_empty_queue(spools):
    assert list(queue(spools.spool.view)) == ["0 messages, 0 recipients waiting"]
    assert list(message(spools.spool.view, "none")) == []


def test_a_queue(waiting):
    first, second, last = queue(waiting.spool.view)
    assert first.endswith(f"  {len(MESSAGE)} octets  from <me@x.example>")
    assert second.startswith("    waiting: bob@example.org: the mailbox is full; 1 attempt, next 20")
    assert last == "1 message, 1 recipient waiting"


def test_a_message_that_is_not_synced(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    (first, last) = queue(spools.spool.view)
    assert first.endswith(", delivered, not yet synced")
    assert last == "1 message, 0 recipients waiting"


def test_one_message(waiting):
    id_ = next(queue(waiting.spool.view)).split()[0]
    lines = list(message(waiting.spool.view, id_))
    assert lines[0] == f"id: {id_}"
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
