"""The contract of every spool engine; see ``mailserver.queue.interfaces``."""

import errno
import sqlite3
from contextlib import closing
from typing import Any

import attrs
import pytest
from zope.interface.verify import verifyObject

from mailserver.durable.disk import Disk
from mailserver.interfaces import QueuedMessage, StoredCopy
from mailserver.mail.handling import USUAL, DeliveryDeadline, Handling
from mailserver.mail.queued import HELD, LOCAL, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import MAILBOX_FULL
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import PostgreSQLDatabase
from mailserver.queue.entries import DestinationSummary, Entry, InMemoryContent, QueueCounts
from mailserver.queue.interfaces import ISpoolEngine, ISpoolTransaction
from mailserver.queue.memory import MemorySpool
from mailserver.queue.postgresql.engine import PostgreSQLSpool
from mailserver.queue.selection import Selection, state_of
from mailserver.queue.sqlite.engine import SQLiteSpool

COPY = StoredCopy("1.M2P3Q4R5.host,S=6,W=6", "1.M2P3Q4R5.host", ("example.org/alice",), b"", 6, 5)
FAILED = FailedAttempt(5.0, MAILBOX_FULL, "the mailbox is full")


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def engine(request, tmp_path):
    engine: Any
    if request.param == "sqlite":
        engine = SQLiteSpool(tmp_path / "spool/queue.db", Disk())
    elif request.param == "memory":
        engine = MemorySpool()
    else:
        connections = Connections(request.getfixturevalue("database_url"))
        engine = PostgreSQLSpool(PostgreSQLDatabase(connections, lambda: "node"))
    assert engine.open() == 0
    yield engine
    engine.close()


def entry(seq, content=b"octets"):
    return Entry(seq, f"id{seq}", 1.5, "me@x.example", 6, (COPY,), content)


def recipient(number, due=10.0, where=LOCAL, **more):
    return QueuedRecipient(
        number, where, "b@example.org", "list@example.org", "", b"\xff\x00", 1, due, (FAILED,), **more
    )


def message(seq, content=b"octets"):
    return QueuedMessage(seq, f"id{seq}", 1.5, "me@x.example", len(content), InMemoryContent(content))


def commit(engine, *changes):
    transaction = engine.begin()
    for name, *arguments in changes:
        getattr(transaction, name)(*arguments)
    transaction.commit()


def contents(engine):
    """The octets of everything that waits, by number."""
    found = {seq: engine.load(seq).message for seq in engine.oldest(100)}
    return {seq: b"".join(one.content.chunks()) for seq, one in found.items()}


def test_the_contracts(engine):
    assert verifyObject(ISpoolEngine, engine)
    assert verifyObject(ISpoolTransaction, engine.begin())


def test_entries(engine):
    commit(engine, ("take", entry(2)), ("take", entry(1, None)))
    assert list(engine.entries()) == [entry(1, None), entry(2)]
    assert engine.content_of(1) is engine.content_of(3) is None
    assert b"".join(engine.content_of(2).chunks()) == b"octets"
    commit(engine, ("retire", [2, 7]))
    assert list(engine.entries()) == [entry(1, None)]
    commit(engine, ("remove", [1]))
    assert (list(engine.entries()), engine.waiting()) == ([], 0)


def test_everything_of_a_message_that_waits_is_kept(engine):
    handling = Handling(-3, 9.0, DeliveryDeadline(99.5, "N", True), require_tls=True)
    sent = attrs.evolve(message(3), ret="HDRS", envid="xyz", handling=handling)
    who = (recipient(1, notify="FAILURE", orcpt="rfc822;b@c"), recipient(2, 20.0))
    commit(engine, ("enqueue", sent, who))
    found = engine.load(3)
    assert (found.message, found.recipients) == (sent, who)
    assert contents(engine) == {3: b"octets"}
    assert (engine.load(4), engine.waiting(), engine.examine(3)) == (None, 1, [])


def test_a_content_is_read_any_number_of_times(engine):
    large = bytes(range(256)) * 1000
    commit(engine, ("enqueue", message(1, large), [recipient(1)]))
    content = engine.load(1).message.content
    first = iter(content.chunks())
    next(first)
    assert b"".join(content.chunks()) == large


def test_nothing_is_there_before_the_commit_and_nothing_without_it(engine):
    transaction = engine.begin()
    transaction.take(entry(1))
    transaction.enqueue(message(2), [recipient(1)])
    assert (list(engine.entries()), engine.due(9)) == ([], [])
    commit(engine, ("take", entry(3)))
    assert (list(engine.entries()), engine.due(9)) == ([entry(3)], [])


def test_a_content_that_cannot_be_read_adds_nothing(engine):
    class Broken:
        size = 6

        def chunks(self):
            yield b"oct"
            raise OSError(errno.EIO, "Input/output error")

    transaction = engine.begin()
    with pytest.raises(OSError, match="Input/output"):
        transaction.enqueue(attrs.evolve(message(1), content=Broken()), [recipient(1)])
    transaction.enqueue(message(2), [recipient(1)])
    transaction.commit()
    assert contents(engine) == {2: b"octets"}


def test_due(engine):
    """Earliest first, each destination and message once, at the time of the first of its recipients."""
    far = recipient(2, 20.0, "smtp:x.example")
    commit(
        engine,
        ("enqueue", message(1), [recipient(1, 30.0), far, recipient(3, 25.0)]),
        ("enqueue", message(2), [recipient(1, 10.0)]),
        ("enqueue", message(3), [recipient(1, 20.0)]),
    )
    commit(engine, ("enqueue", message(4), [recipient(1, HELD), recipient(2, HELD, "smtp:held.example")]))
    assert engine.due(9) == [(LOCAL, 10.0), (far.destination, 20.0)]
    assert engine.due(1) == [(LOCAL, 10.0)]
    assert engine.due_messages(LOCAL, 40.0, 9, ()) == [2, 3, 1]
    assert engine.due_messages(LOCAL, 20.0, 9, ()) == [2, 3]
    assert engine.due_messages(LOCAL, 40.0, 1, [2, 4]) == [3]
    assert engine.due_messages(far.destination, 40.0, 9, [1]) == []
    assert [engine.next_due(LOCAL, busy) for busy in ([], [2], [2, 3], [1, 2, 3])] == [10.0, 20.0, 25.0, None]
    assert engine.load(1, far.destination).recipients == (far,)
    engine.bring_forward(15.0)
    assert engine.due(9) == [(LOCAL, 10.0), (far.destination, 15.0)]
    assert [each.next for each in engine.load(1).recipients] == [15.0, 15.0, 15.0]
    assert [each.next for each in engine.load(4).recipients] == [HELD, HELD]


def test_the_order_of_priorities(engine):
    """In each destination of its own, and without the messages that are not due, held or busy."""
    far = "smtp:x.example"
    for seq, (priority, due, where) in enumerate(
        (
            (0, 10.0, LOCAL), (5, 30.0, LOCAL), (-9, 1.0, LOCAL), (5, 20.0, LOCAL), (9, 50.0, LOCAL),
            (0, 5.0, LOCAL), (3, HELD, LOCAL), (-1, 7.0, far), (-2, 6.0, far),
        ),
        1,
    ):  # fmt: skip
        sent = attrs.evolve(message(seq), handling=Handling(priority))
        commit(engine, ("enqueue", sent, [recipient(1, due, where)]))
    assert engine.due_messages(LOCAL, 40.0, 9, ()) == [4, 2, 6, 1, 3]
    assert engine.due_messages(LOCAL, 50.0, 3, [4]) == [5, 2, 6]
    assert engine.due_messages(LOCAL, 9.0, 9, [6]) == [3]
    assert engine.due_messages(far, 9.0, 9, ()) == [8, 9]
    assert engine.due(9) == [(LOCAL, 1.0), (far, 6.0)]
    assert engine.next_due(LOCAL, [3, 6]) == 10.0
    assert engine.next_due(LOCAL, [1, 3, 6]) == 20.0
    assert (engine.next_due(far, [9]), engine.next_due(far, [8, 9])) == (7.0, None)


def test_counts(engine):
    assert engine.counts(15.0) == QueueCounts(0, 0, 0, None)
    commit(engine, ("take", entry(1)), ("enqueue", message(2), [recipient(1, 15.0), recipient(2, 15.1)]))
    later = attrs.evolve(message(3), received=0.5)  # the clock has gone back: the first in the queue counts
    commit(engine, ("enqueue", later, [recipient(1, HELD), recipient(2, 1.0, "smtp:far.example")]))
    assert engine.counts(15.0) == QueueCounts(2, 1, 1, 1.5)
    commit(engine, ("remove", [2, 3]))
    assert engine.counts(15.0) == QueueCounts(0, 0, 0, None)


def test_the_sender_holds_a_message(engine):
    sent = attrs.evolve(message(1), handling=Handling(release=100.0))
    commit(engine, ("enqueue", sent, [recipient(1, 100.0), recipient(2, 500.0), recipient(3, HELD)]))
    engine.bring_forward(15.0)
    assert [each.next for each in engine.load(1).recipients] == [100.0, 100.0, HELD]
    (listed,) = engine.page(Selection(states=("held",)), 0, 9)
    assert [each.release for each in listed.recipients] == [100.0] * 3
    assert [state_of(each, now) for each in listed.recipients for now in (99.0, 100.0)] == [
        "held", "due", "held", "due", "held", "held",
    ]  # fmt: skip
    commit(engine, ("reschedule", 1, [1], 20.0))
    (listed,) = engine.page(Selection(), 0, 9)
    assert state_of(listed.recipients[0], 15.0) == "waiting"


@pytest.mark.parametrize("octets", [6, 64 * 1024, 64 * 1024 + 1])
def test_a_new_message(engine, octets):
    """It has not been tried, and it is found again like any other."""
    sent = message(1, b"x" * octets)
    who = attrs.evolve(recipient(1), attempts=0, history=())
    commit(engine, ("enqueue", sent, [who]))
    assert contents(engine) == {1: b"x" * octets}
    assert (engine.load(1).recipients, engine.examine(1)) == ((who,), [])
    later = attrs.evolve(
        who, attempts=1, history=(attrs.evolve(FAILED, host="mx.x.example", reply="450 no"),)
    )
    commit(engine, ("record_attempt", engine.load(1).message, [later], []))
    assert (engine.load(1).recipients, contents(engine)) == ((later,), {1: b"x" * octets})
    commit(engine, ("record_attempt", engine.load(1).message, [], [later]))
    assert (engine.waiting(), engine.sweep(lambda: True)) == (0, 0)


def test_attempts(engine):
    first, second, third = recipient(1), recipient(2), recipient(3)
    commit(engine, ("enqueue", message(1), [first, second, third]), ("take", entry(1)))
    later = attrs.evolve(second, attempts=2, next=50.0, history=(FAILED, FAILED))
    commit(engine, ("record_attempt", message(1), [later], [first]))
    assert (engine.load(1).recipients, engine.due(9)) == ((later, third), [(LOCAL, 10.0)])
    commit(engine, ("record_attempt", message(1), [first], [third]))
    assert (engine.load(1).recipients, engine.due(9)) == ((later,), [(LOCAL, 50.0)])
    commit(engine, ("record_attempt", message(1), [], [later]))
    assert (engine.load(1), engine.waiting(), engine.due(9)) == (None, 0, [])
    commit(engine, ("record_attempt", message(1), [], [later]))
    # What is not synced has nothing to do with it.
    assert list(engine.entries()) == [entry(1)]


def test_who_waits_is_not_retired(engine):
    commit(engine, ("enqueue", message(1), [recipient(1)]), ("take", entry(1)))
    commit(engine, ("retire", [1]))
    assert (list(engine.entries()), contents(engine)) == ([], {1: b"octets"})
    commit(engine, ("remove", [1]))
    assert engine.waiting() == 0


def test_what_makes_no_sense_is_dropped(engine):
    commit(engine, ("enqueue", message(1), [recipient(1)]), ("enqueue", message(2), [recipient(1)]))
    part = engine.condemn(1, "reason")
    assert (part.seq, b"".join(part.content.chunks())) == (1, b"octets")
    commit(engine, ("drop", part))
    assert contents(engine) == {2: b"octets"}


def test_for_people(engine):
    commit(engine, ("enqueue", message(2), [recipient(1)]), ("take", entry(2)), ("take", entry(1)))
    assert engine.page(Selection(), 0, 1) == engine.page(Selection(), 0, 2)[:1]
    assert engine.page(Selection(), 2, 2) == []
    listed = engine.page(Selection(), 0, 2)
    assert [(one.seq, one.id, one.synced, len(one.recipients)) for one in listed] == [
        (1, "id1", False, 0),
        (2, "id2", False, 1),
    ]
    (shown,) = engine.find("id2")
    assert (shown.listed, shown.unsynced, shown.damage) == (listed[1], ("example.org/alice",), "")
    assert b"".join(shown.content.chunks()) == b"octets"
    assert engine.find("id3") == []


def test_a_summary(engine):
    tried = attrs.evolve(recipient(3, due=7.0, where="smtp:a.example"), history=(FAILED, FAILED))
    commit(
        engine,
        (
            "enqueue",
            message(1),
            [recipient(1, due=HELD), recipient(2, due=9.0, where="smtp:a.example"), tried],
        ),
        ("enqueue", message(2), [recipient(1, due=8.0, where="smtp:a.example")]),
    )
    assert engine.summary() == [
        DestinationSummary("smtp:a.example", 3, 0, 1.5, 7.0, FAILED),
        DestinationSummary(LOCAL, 1, 1, 1.5, None, FAILED),
    ]


def test_due_times_are_set(engine):
    left = recipient(1, due=77.0)
    commit(engine, ("enqueue", message(1), [recipient(1), recipient(2), recipient(3)]))
    commit(engine, ("reschedule", 1, [1, 2, 4], HELD), ("reschedule", 5, [1], HELD))
    commit(engine, ("record_attempt", message(1), [left], []))
    assert [each.next for each in engine.load(1).recipients] == [HELD, HELD, 10.0]
    commit(engine, ("reschedule", 1, [1], 5.0))
    commit(engine, ("record_attempt", message(1), [left], []))
    assert [each.next for each in engine.load(1).recipients] == [77.0, HELD, 10.0]


@pytest.mark.parametrize("go_on", [True, False])
def test_a_sweep_keeps_what_waits(engine, go_on):
    commit(engine, *(("enqueue", message(seq), [recipient(1)]) for seq in range(1, 6)))
    assert engine.sweep(lambda: go_on) == 0
    assert len(contents(engine)) == 5


# ---------------------------------------------------------------- on disk


@pytest.fixture
def disk(tmp_path):
    engine = SQLiteSpool(tmp_path / "spool/queue.db", Disk())
    engine.open()
    yield engine
    engine.close()


def test_it_is_there_after_a_restart(disk, tmp_path):
    commit(disk, ("enqueue", message(7), [recipient(1)]), ("take", entry(3)))
    disk.close()
    again = SQLiteSpool(tmp_path / "spool/queue.db", Disk())
    assert again.open() == 7
    assert (list(again.entries()), contents(again)) == ([entry(3)], {7: b"octets"})
    again.close()


def test_a_sweep_removes_what_a_crash_has_left(disk, tmp_path):
    """Not what is about to be committed, and nothing that it does not know."""
    commit(disk, ("enqueue", message(1), [recipient(1)]))
    folder = tmp_path / "spool/contents"
    for name in ("id1.2", "id9.9", "README"):
        (folder / name).write_bytes(b"left")
    transaction = disk.begin()
    transaction.enqueue(message(3), [recipient(1)])
    assert disk.sweep(lambda: True) == 2
    transaction.commit()
    assert {path.name for path in folder.iterdir()} == {"id1.1", "id3.3", "README"}
    assert contents(disk) == {1: b"octets", 3: b"octets"}


VERSION_1 = """
CREATE TABLE queued (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, received REAL NOT NULL,
    reverse_path TEXT NOT NULL, octets INTEGER NOT NULL, content TEXT NOT NULL, checksum INTEGER NOT NULL,
    ret TEXT NOT NULL, envid TEXT NOT NULL, next REAL NOT NULL);
CREATE INDEX queued_next ON queued (next);
CREATE TABLE recipient (seq INTEGER NOT NULL, number INTEGER NOT NULL, destination TEXT NOT NULL,
    address TEXT NOT NULL, recipient TEXT NOT NULL, reverse_path TEXT NOT NULL, head BLOB NOT NULL,
    attempts INTEGER NOT NULL, next REAL NOT NULL, history TEXT NOT NULL, notify TEXT NOT NULL,
    orcpt TEXT NOT NULL, PRIMARY KEY (seq, number)) WITHOUT ROWID;
INSERT INTO queued VALUES (4, 'id4', 1.5, 'me@x.example', 6, 'id4.4', 3203183557, '', '', 10.0);
INSERT INTO recipient VALUES (4, 1, 'local', 'b@example.org', 'list@example.org', '', x'ff00', 1, 10.0,
    '[[5.0, "4.2.2", "the mailbox is full"]]', '', '');
PRAGMA user_version = 1;
"""


# From the tables of version 1 to those of version 2.
VERSION_2 = """
DROP INDEX queued_next;
ALTER TABLE queued DROP COLUMN next;
ALTER TABLE queued ADD COLUMN data BLOB;
ALTER TABLE recipient ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recipient_due ON recipient (destination, next);
PRAGMA user_version = 2;
"""


@pytest.mark.parametrize("script", [VERSION_1, VERSION_1 + VERSION_2], ids=["version 1", "version 2"])
def test_older_tables_are_converted(tmp_path, script):
    (tmp_path / "spool/contents").mkdir(parents=True)
    (tmp_path / "spool/contents/id4.4").write_bytes(b"octets")
    with closing(sqlite3.connect(tmp_path / "spool/queue.db")) as database:
        database.executescript(script)
    for _ in range(2):
        engine = SQLiteSpool(tmp_path / "spool/queue.db", Disk())
        assert engine.open() == 4
        found = engine.load(4)
        assert found is not None
        assert (found.recipients, contents(engine)) == ((recipient(1),), {4: b"octets"})
        assert (engine.due(9), found.message.handling) == ([(LOCAL, 10.0)], USUAL)
        urgent = attrs.evolve(message(9), handling=Handling(1))
        new = attrs.evolve(recipient(1, 20.0), attempts=0, history=())
        commit(engine, ("enqueue", urgent, [new]))
        assert engine.due_messages(LOCAL, 20.0, 9, ()) == [9, 4]
        commit(engine, ("remove", [9]))
        engine.close()


def test_a_newer_version_is_refused(disk, tmp_path):
    disk._database.commit([("PRAGMA user_version = 4", ())])
    disk.close()
    with pytest.raises(OSError, match="newer version"):
        SQLiteSpool(tmp_path / "spool/queue.db", Disk()).open()
