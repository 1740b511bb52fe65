"""The contract of every spool engine; see ``mailserver.queue.interfaces``."""

import errno

import attrs
import pytest
from zope.interface.verify import verifyObject

from mailserver.durable.disk import Disk
from mailserver.interfaces import QueuedMessage, StoredCopy
from mailserver.mail.queued import LOCAL, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import MAILBOX_FULL
from mailserver.queue.entries import Entry, InMemoryContent
from mailserver.queue.interfaces import ISpoolEngine, ISpoolTransaction
from mailserver.queue.memory import MemorySpool
from mailserver.queue.sqlite.engine import SQLiteSpool

COPY = StoredCopy("1.M2P3Q4R5.host,S=6,W=6", "1.M2P3Q4R5.host", ("example.org/alice",), b"", 6, 5)
FAILED = FailedAttempt(5.0, MAILBOX_FULL, "the mailbox is full")


@pytest.fixture(params=["sqlite", "memory"])
def engine(request, tmp_path):
    engine = SQLiteSpool(tmp_path / "spool/queue.db", Disk()) if request.param == "sqlite" else MemorySpool()
    assert engine.open() == 0
    yield engine
    engine.close()


def entry(seq, content=b"octets"):
    return Entry(seq, f"id{seq}", 1.5, "me@x.example", 6, (COPY,), content)


def recipient(number, due=10.0, **more):
    return QueuedRecipient(
        number, LOCAL, "b@example.org", "list@example.org", "", b"\xff\x00", 1, due, (FAILED,), **more
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
    found = {seq: engine.load(seq).message for seq, _ in engine.due(100)}
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
    sent = attrs.evolve(message(3), ret="HDRS", envid="xyz")
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
    """Earliest first, each message once, at the time of the first of its recipients."""
    commit(
        engine,
        ("enqueue", message(1), [recipient(1, 30.0), recipient(2, 20.0)]),
        ("enqueue", message(2), [recipient(1, 10.0)]),
        ("enqueue", message(3), [recipient(1, 20.0)]),
    )
    assert engine.due(9) == [(2, 10.0), (1, 20.0), (3, 20.0)]
    assert engine.due(1) == [(2, 10.0)]
    engine.bring_forward(15.0)
    assert engine.due(9) == [(2, 10.0), (1, 15.0), (3, 15.0)]
    assert [each.next for each in engine.load(1).recipients] == [30.0, 20.0]


def test_attempts(engine):
    first, second, third = recipient(1), recipient(2), recipient(3)
    commit(engine, ("enqueue", message(1), [first, second, third]), ("take", entry(1)))
    later = attrs.evolve(second, attempts=2, next=50.0, history=(FAILED, FAILED))
    commit(engine, ("record_attempt", message(1), [later], [first]))
    assert (engine.load(1).recipients, engine.due(9)) == ((later, third), [(1, 10.0)])
    commit(engine, ("record_attempt", message(1), [first], [third]))
    assert (engine.load(1).recipients, engine.due(9)) == ((later,), [(1, 50.0)])
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
    listed = list(engine.listing())
    assert [(one.seq, one.id, one.synced, len(one.recipients)) for one in listed] == [
        (1, "id1", False, 0),
        (2, "id2", False, 1),
    ]
    (shown,) = engine.find("id2")
    assert (shown.listed, shown.unsynced, shown.damage) == (listed[1], ("example.org/alice",), "")
    assert b"".join(shown.content.chunks()) == b"octets"
    assert engine.find("id3") == []


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


def test_a_newer_version_is_refused(disk, tmp_path):
    disk._database.commit([("PRAGMA user_version = 2", ())])
    disk.close()
    with pytest.raises(OSError, match="newer version"):
        SQLiteSpool(tmp_path / "spool/queue.db", Disk()).open()
