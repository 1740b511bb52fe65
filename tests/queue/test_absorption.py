"""Absorption: the first worker takes over the messages of workers that do not exist any more."""

import errno
import os
import shutil
from collections import Counter

import pytest
from twisted.logger import capturedLogs

from mailserver.app.data import left_over_queue_files, worker_queue_file, worker_spool
from mailserver.durable.database import marker
from mailserver.errors import StorageError
from mailserver.events.queue import ShardAbsorbed, ShardKept, ShardNotRemoved, SpoolDamaged, SpoolRowDamaged
from mailserver.interfaces import QueuedMessage
from mailserver.mail.queued import LOCAL, QueuedRecipient
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.shards import absorption
from mailserver.queue.sqlite.engine import SQLiteTransaction
from mailserver.store.writer import IN_SPOOL
from tests.support.peers import peers
from tests.support.queue.crashed import ALONE, HEAD, crash, damaged, is_missing, row, serves
from tests.support.queue.spools import Spools
from tests.support.runs import rest_slow
from tests.support.store.messages import ALICE, BOB, MESSAGE

LARGE = b"x" * (IN_SPOOL + 1)
TEXTS = (MESSAGE, LARGE, b"Subject: last\r\n\r\n")


def left_behind(root, reactor):
    """What a server with three workers leaves that is killed: messages that are not synced in two shards."""
    for worker in peers(3)[1:]:
        shard = Spools(root, reactor, peers=worker.started)
        shard.open()
        for text in TEXTS:
            shard.wait(shard.deliver(text + b"%d" % worker.number, ALICE, BOB))
        shard.leave()
    return Spools(root, reactor)


def expected():
    return sorted(HEAD + text + b"%d" % number for number in (2, 3) for text in TEXTS)


def told(events, kind):
    return [event["log_event"] for event in events if isinstance(event.get("log_event"), kind)]


@pytest.fixture
def server(tmp_path, spool_reactor):
    return left_behind(tmp_path / "data", spool_reactor)


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("at_once", [2, 100])
def test_messages_are_taken_over(server, monkeypatch, shown, at_once):
    monkeypatch.setattr(absorption, "MOST", at_once)
    names = {path.name for path in server.files("new")}
    if not shown:
        for path in server.files("new"):
            is_missing(path)
    with capturedLogs() as events:
        server.open()
    assert [(each.worker, each.count) for each in told(events, ShardAbsorbed)] == [(2, 3), (3, 3)]
    assert not list((server.root / "spool").glob("worker-*"))
    assert (server.rows(), server.files("tmp")) == ([], [])
    assert {path.name for path in server.files("new")} == names
    for mailbox in (ALICE, BOB):
        assert sorted(server.look(mailbox)) == expected()
    serves(server)
    server.close()


def test_workers_that_exist_keep_theirs(server):
    server.peers = peers(2)[0].started
    server._make()
    server.open()
    assert worker_queue_file(server.root, 2).exists()
    assert not worker_spool(server.root, 3).exists()
    assert left_over_queue_files(server.root, [2]) == {}
    server.close()


def states_of(server, place, calls):
    """What kills leave during the start: before the calls that change the disk with these numbers."""
    for path in server.files("new"):
        is_missing(path)
    states = []

    def copy(number, name):
        if number in calls:
            states.append(place / str(number))
            shutil.copytree(server.root, states[-1])
        return False

    server.calls.fails = copy
    server.open()
    server.calls.fail_none()
    server.close()
    return [Spools(state, server.reactor) for state in states]


@pytest.mark.parametrize("first", rest_slow(range(1, 9)))
def test_killed_at_each_step(server, tmp_path, first):
    """The next start finds each message once."""
    left = Counter()
    for state in states_of(server, tmp_path, range(first, 1000, 8)):
        left[len(list(state.root.glob("spool/worker-*/*")))] += 1
        state.open()
        for _ in range(2):
            for mailbox in (ALICE, BOB):
                assert sorted(state.look(mailbox)) == expected(), state.root
            assert state.rows() == []
            assert len(state.files("tmp")) <= 2  # sources of synced copies are swept later
            assert not list(state.root.glob("spool/worker-*"))
            assert not damaged(state)
            state.reopen()
        state.close()
        shutil.rmtree(state.root)
    assert left.total() > 20
    assert len(left) > 2


def test_the_wrong_order_is_found(server, tmp_path, monkeypatch):
    """Entries that are deleted before they are added are lost by a kill."""
    move = absorption._move

    def deletes_first(entries, shard, engine, last):
        transaction = shard.begin()
        transaction.retire([entry.seq for entry in entries])
        transaction.commit()
        move(entries, shard, engine, last)

    monkeypatch.setattr(absorption, "_move", deletes_first)
    found = []
    for state in states_of(server, tmp_path, range(60)):
        state.open()
        found.append(len(state.look(ALICE)))
        state.close()
    assert 6 in found
    assert 3 in found


def test_an_entry_that_is_in_both_spools(server, monkeypatch):
    """It cannot be deleted from the shard after it was added to the spool."""

    def retire(self, numbers):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(SQLiteTransaction, "retire", retire)
        server.open()
    server.engine.close()
    assert row(server, "SELECT count(*) FROM entry") == [(3,)]
    server._make()
    server.open()
    for mailbox in (ALICE, BOB):
        assert sorted(server.look(mailbox)) == expected()
    assert server.rows() == []
    server.close()


def test_a_message_that_was_removed_since_does_not_come_back(server):
    server.open()
    drop = server.wait(server.maildrops.maildrop(ALICE))
    assert server.wait(drop.remove(range(6))) == frozenset()
    drop.release()
    server.reopen(Spools.leave)
    assert server.look(ALICE) == []
    assert len(server.look(BOB)) == 6
    server.close()


# ---------------------------------------------------------------- damage


def shard_row(spools, statement):
    spools = Spools(spools.root, spools.reactor, peers=peers(2)[1].started)
    spools.engine.open()
    spools.engine._database.commit([(statement, ())])
    spools.engine.close()


def test_a_damaged_entry_is_set_aside(server):
    shard_row(server, "UPDATE entry SET copies = '{' WHERE seq = 1")
    with capturedLogs() as events:
        server.open()
    assert len(told(events, SpoolRowDamaged)) == 1
    assert list(damaged(server).values()) == [MESSAGE + b"2"]
    assert not worker_spool(server.root, 2).exists()
    assert len(server.look(ALICE)) == 6  # it was there already
    server.close()


def test_a_damaged_shard_is_set_aside_as_a_whole(server):
    path = worker_queue_file(server.root, 2)
    path.write_bytes(b"no database\n" * 1000)
    with capturedLogs() as events:
        server.open()
    (event,) = told(events, SpoolDamaged)
    assert event.reason == "worker-2/queue.db: file is not a database"
    assert list(damaged(server).values()) == [b"no database\n" * 1000]
    assert not list((server.root / "spool").glob("worker-*"))
    assert len(server.look(ALICE)) == 6
    serves(server)
    server.close()


@pytest.mark.parametrize("others", [1, 3])
def test_a_damaged_spool_leaves_the_shards_alone(server, others):
    """With one worker their messages are absorbed; other workers go on with theirs."""
    server.open()
    server.close()
    left_behind(server.root, server.reactor)
    server.peers = peers(others)[0].started
    server._make()
    for path in server.files("new"):
        is_missing(path)
    (server.root / "spool/queue.db").write_bytes(b"no database\n" * 1000)
    with capturedLogs() as events:
        server.open()
    assert len(told(events, SpoolDamaged)) == 1
    assert len(list(server.root.glob("damaged/*.spool/made-queue.db"))) == 1
    assert worker_queue_file(server.root, 2).exists() == (others == 3)
    assert sorted(server.look(ALICE)) == (expected() if others == 1 else [])
    server.close()


# ---------------------------------------------------------------- what stays


def test_messages_that_wait_in_a_shard_stay_there(tmp_path, spool_reactor):
    """This version writes none."""
    shard = Spools(tmp_path / "data", spool_reactor, peers=peers(2)[1].started)
    shard.open()
    shard.wait(shard.deliver(MESSAGE, ALICE))
    recipient = QueuedRecipient(1, LOCAL, str(BOB), str(BOB), "", b"", 0, 0.0, ())
    message = QueuedMessage(9, "id9", 0.0, "", len(MESSAGE), InMemoryContent(MESSAGE))
    transaction = shard.engine.begin()
    transaction.enqueue(message, [recipient])
    transaction.commit()
    crash(shard)
    server = Spools(shard.root, spool_reactor)
    for absorbed in (1, 0):
        with capturedLogs() as events:
            server.open()
        assert [each.count for each in told(events, ShardAbsorbed)] == [absorbed]
        (kept,) = told(events, ShardKept)
        assert (kept.path, kept.waiting) == (worker_spool(server.root, 2), 1)
        assert server.look(ALICE) == [ALONE + MESSAGE]
        crash(server)
    shard.engine.open()
    assert shard.engine.waiting() == 1
    shard.engine.close()


@pytest.mark.parametrize("database", [True, False])
def test_a_folder_that_cannot_be_removed(server, database):
    """It has something that the server has not made. The messages are taken over."""
    folder = worker_spool(server.root, 2)
    if not database:
        shutil.rmtree(folder)
    (folder / "other" / "folder").mkdir(parents=True)
    for _ in range(2):
        with capturedLogs() as events:
            server.open()
        (event,) = told(events, ShardNotRemoved)
        assert event.path == folder
        assert [*folder.iterdir()] == [folder / "other"]
        assert len(server.look(ALICE)) == 6
        crash(server)


def test_a_folder_without_a_database(tmp_path, spool_reactor):
    """A worker was killed while it made its spool, or the first one while it removed it."""
    server = Spools(tmp_path / "data", spool_reactor)
    (worker_spool(server.root, 7) / "contents").mkdir(parents=True)
    (worker_spool(server.root, 7) / "contents" / "left.1").write_bytes(b"")
    os.close(os.open(worker_spool(server.root, 7) / "queue.db-wal", os.O_CREAT))
    assert not marker(worker_queue_file(server.root, 7)).exists()
    with capturedLogs() as events:
        server.open()
    assert not told(events, ShardAbsorbed) + told(events, ShardNotRemoved)
    assert not worker_spool(server.root, 7).exists()
    server.close()
