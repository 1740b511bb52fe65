"""Several servers share a queue: a recipient belongs to one of them, as long as that one lives."""

from functools import partial

import pytest

from mailserver.errors import StorageError
from mailserver.interfaces import QueuedMessage
from mailserver.mail.queued import HELD, QueuedRecipient
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import PostgreSQLDatabase
from mailserver.postgresql.errors import CommitUnknown
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.postgresql.engine import PostgreSQLSpool

WHERE = "remote:x.example"
NOW = 100.0


@pytest.fixture
def spools(database_url):
    """The spools of two servers, "a" and "b"."""
    made = []
    for name in ("a", "b"):
        database = PostgreSQLDatabase(Connections(database_url), partial(str, name))
        made.append(PostgreSQLSpool(database))
        made[-1].open()
    yield made
    for spool in made:
        spool.close()


def message(seq):
    return QueuedMessage(seq, f"id{seq}", 1.5, "me@x.example", 6, InMemoryContent(b"octets"))


def recipient(number, due=NOW):
    return QueuedRecipient(number, WHERE, f"{number}@x.example", f"{number}@x.example", "", b"", 0, due, ())


def enqueue(spool, seq, *recipients):
    transaction = spool.begin()
    queued = transaction.enqueue(message(seq), recipients)
    transaction.commit()
    return queued


def record(spool, seq, left=(), gone=()):
    transaction = spool.begin()
    try:
        transaction.record_attempt(message(seq), left, gone)
    finally:  # the rest of a group is committed
        transaction.commit()


def taken(spool, by=NOW, limit=10, busy=()):
    """What the runner of a server gets: the numbers of messages, with those of their recipients."""
    found = spool.due_messages(WHERE, by, limit, busy)
    return [(seq, [each.number for each in spool.load(seq, WHERE).recipients]) for seq in found]


def ends(ask, name):
    """A server has not renewed its lease."""
    ask("UPDATE lease SET until = now() - interval '1 s' WHERE name = %s", f"node {name}")


def test_nobody_tries_a_message_with_an_unknown_outcome(spools, monkeypatch):
    """The sender got 451, and sends it again. The next commit removes it."""
    a, b = spools
    enqueue(a, 1, recipient(1))
    with monkeypatch.context() as context:
        group, commit = a._database.group, a._database.group.commit

        def commits_without_answer():
            commit()
            raise CommitUnknown

        context.setattr(group, "commit", commits_without_answer)
        with pytest.raises(CommitUnknown):
            enqueue(a, 2, recipient(1, NOW - 1))
    assert a.find("id2") is not None
    assert taken(a) == [(1, [1])] and a.next_due(WHERE, ()) == NOW
    assert taken(b) == []


def test_a_new_message_belongs_to_the_server_that_accepted_it(spools, ask):
    a, b = spools
    enqueue(a, 1, recipient(1))
    assert taken(b) == [] and b.next_due(WHERE, ()) is None
    assert taken(a) == [(1, [1])] and a.next_due(WHERE, ()) == NOW
    ends(ask, "a")
    assert b.next_due(WHERE, ()) == NOW and taken(b) == [(1, [1])]
    assert taken(a) == [] and a.next_due(WHERE, ()) is None


def test_a_deferred_recipient_is_free(spools):
    a, b = spools
    enqueue(a, 1, recipient(1), recipient(2))
    assert taken(a) == [(1, [1, 2])]
    record(a, 1, left=[recipient(1, NOW + 50)], gone=[recipient(2)])
    assert taken(b) == [] and b.next_due(WHERE, ()) == NOW + 50
    assert taken(b, NOW + 60) == [(1, [1])]
    assert taken(a, NOW + 60) == []


def test_recipients_of_one_destination_belong_to_different_servers(spools):
    """One of them was deferred, and the other one is still being tried."""
    a, b = spools
    enqueue(a, 1, recipient(1), recipient(2))
    record(a, 1, left=[recipient(2, NOW)])
    assert taken(b) == [(1, [2])]
    assert taken(a) == [(1, [1])]


@pytest.mark.parametrize("change", ["left", "gone"])
def test_who_has_lost_a_message_records_nothing(spools, ask, change):
    a, b = spools
    enqueue(a, 1, recipient(1))
    assert taken(a) == [(1, [1])]
    ends(ask, "a")
    assert taken(b) == [(1, [1])]
    with pytest.raises(StorageError, match="another server tries the message now"):
        record(a, 1, **{change: [recipient(1, NOW + 5)]})
    record(b, 1, gone=[recipient(1)])
    assert ask("SELECT count(*) FROM queued") == [(0,)]


def test_who_was_late_and_lost_nothing_records(spools, ask):
    """A commit renews the lease. So what it adds does not belong to a server that seems to have ended."""
    a, b = spools
    enqueue(a, 1, recipient(1))
    ends(ask, "a")
    record(a, 1, left=[recipient(1, NOW + 5)])
    enqueue(a, 2, recipient(1))
    assert taken(b) == []
    assert taken(b, NOW + 10) == [(1, [1])]


def test_two_servers_that_look_at_once_share_the_messages(spools, database_url, ask):
    """A recipient that a transaction has locked is skipped, and nobody waits for it."""
    a, b = spools
    for seq in (1, 2, 3):
        enqueue(a, seq, recipient(1))
    ask("UPDATE recipient SET owner = NULL")
    other = Connections(database_url).connect()
    with other.transaction():
        other.execute("UPDATE recipient SET owner = NULL WHERE seq = 2")
        assert taken(b) == [(1, [1]), (3, [1])]
    other.close()
    assert taken(a) == [(2, [1])]


def test_held_recipients_stay_held(spools):
    a, b = spools
    enqueue(a, 1, recipient(1))
    transaction = b.begin()
    transaction.reschedule(1, [1], HELD)  # an administrator, at the other server
    transaction.commit()
    record(a, 1, left=[recipient(1, NOW + 5)])
    assert taken(a, NOW + 10) == taken(b, NOW + 10) == []


def test_an_ended_server_leaves_its_messages(spools):
    a, b = spools
    enqueue(a, 1, recipient(1))
    a.close()
    assert taken(b) == [(1, [1])]
    a.open()
    assert taken(a) == []
