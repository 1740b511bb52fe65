"""The checkpoint: synced first, retired then, and written anew where the sync has failed."""

import errno
import os
import sqlite3
import threading

import pytest

from mailserver.durable import group
from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination
from mailserver.queue import checkpoint
from mailserver.queue.checkpoint import AFTER_FAILURE, EVERY
from mailserver.queue.writer import Job
from mailserver.store.writer import IN_SPOOL
from tests.support.store.messages import ALICE, BOB, MESSAGE

SYNCS = ("fsync", "syncfs")
SIZES = (100, IN_SPOOL + 1)
HEAD = b"Return-Path: <me@x.example>\r\n"
ALONE = HEAD + b"Delivered-To: alice@example.org\r\n"
HIS_OWN = Destination(BOB, Address("sales", "example.org"))


@pytest.fixture(params=SYNCS)
def spools(request, monkeypatch):
    """The spool with each of the two ways to sync, wherever the test runs."""
    monkeypatch.setattr(group, "_syncfs_answers_for", lambda device: request.param == "syncfs")
    return request.getfixturevalue("spools")


def fail_syncs(spools, error=errno.EIO, times=10**6):
    """So many syncs fail from now on."""
    left = [times]

    def fails(number, name):
        left[0] -= name in SYNCS
        return name in SYNCS and left[0] >= 0

    spools.calls.fail_none()
    spools.calls.error = error
    spools.calls.fails = fails


def inodes(spools):
    return {path.name: path.stat().st_ino for folder in ("new", "cur") for path in spools.files(folder)}


def on_disk(spools, query="SELECT copies FROM entry"):
    """What a process would read that started now."""
    database = sqlite3.connect(spools.root / "spool" / "queue.db")
    try:
        return [value for (value,) in database.execute(query)]
    finally:
        database.close()


@pytest.mark.parametrize("size", SIZES)
def test_synced_then_retired(spools, size):
    spools.wait(spools.deliver(b"x" * size, ALICE, HIS_OWN))
    paths = spools.files("new")
    assert len(on_disk(spools)) == 1
    spools.calls.fail_none()
    spools.checkpoint()
    names = spools.calls.names
    synced = {str(path) for name, path in spools.calls.made if name == "open"}
    if "syncfs" not in names:
        wanted = {*paths, *(path.parent for path in paths), *(path.parents[1] / "cur" for path in paths)}
        assert synced == set(map(str, wanted))
        assert names.count("fsync") == len(wanted)
    assert max(number for number, name in enumerate(names) if name in SYNCS) < names.index("commit")
    assert names.count("commit") == 1
    assert on_disk(spools) == []
    assert spools.files("tmp") == []
    assert spools.files("new") == paths


def test_it_runs_by_itself(spools):
    """A second after the first message that is not synced, and not again while there is none."""
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.wait(spools.spool.submit(Job()))
    spools.reactor.advance(EVERY * 0.6)
    spools.wait(spools.deliver(MESSAGE, ALICE))
    assert len(spools.rows()) == 2
    assert len(spools.reactor.getDelayedCalls()) == 1
    spools.reactor.advance(EVERY * 0.4)
    spools.checkpoint()
    assert spools.rows() == []
    assert spools.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("limit", ["MANY", "MUCH"])
def test_it_runs_at_once_if_there_is_much(spools, monkeypatch, limit):
    monkeypatch.setattr(checkpoint, limit, 2 if limit == "MANY" else 2 * (len(HEAD) + 1000))
    for _ in range(3):
        spools.wait(spools.deliver(b"x" * 1000, ALICE))
    spools.wait(spools.spool.submit(Job()))
    spools.reactor.advance(0)
    spools.wait(spools.spool.checkpoint.run())
    assert spools.rows() == []


def test_synced(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    (first,) = (message.uid for message in drop.messages)
    assert spools.spool.checkpoint.synced(["of another program"]) is None
    waiting = spools.spool.checkpoint.synced(["of another program", first])
    assert waiting is not None
    spools.wait(waiting)
    assert spools.rows() == []
    assert spools.spool.checkpoint.synced([first]) is None
    drop.release()


def test_synced_while_one_is_under_way(spools):
    """What has come since it began is not synced when it ends."""
    inside, go_on = threading.Event(), threading.Event()
    sync = spools.store.writer.sync

    def slow(texts):
        inside.set()
        assert go_on.wait(30)
        return sync(texts)

    spools.store.writer.sync = slow
    spools.wait(spools.deliver(MESSAGE, ALICE))
    first = spools.spool.checkpoint.run()
    assert inside.wait(30)
    spools.wait(spools.deliver(MESSAGE, ALICE))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    uids = [message.uid for message in drop.messages]
    drop.release()
    second = spools.spool.checkpoint.synced([uids[1]])
    go_on.set()
    spools.wait(first)
    assert len(spools.rows()) == 1
    assert not second.called
    spools.wait(second)
    assert spools.rows() == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("moved", [False, True])
def test_after_a_failed_sync_it_is_written_anew(spools, size, moved):
    """The files get new inodes, also the one that a mail reader has taken to cur/ meanwhile."""
    data = os.urandom(size)
    spools.wait(spools.deliver(data, ALICE, BOB))
    if moved:
        (path,) = (path for path in spools.files("new") if "alice" in str(path))
        path.rename(path.parents[1] / "cur" / f"{path.name}:2,S")
    before = inodes(spools)
    fail_syncs(spools, times=1)
    spools.checkpoint()
    after = inodes(spools)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert spools.look(ALICE) == spools.look(BOB) == [HEAD + data]
    assert on_disk(spools) == []
    assert spools.files("tmp") == []
    names = spools.calls.names
    assert names.index("commit") > max(number for number, name in enumerate(names) if name in SYNCS)


def test_who_was_removed_is_not_written_anew(spools):
    """Another program may remove a message that is not synced."""
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    (path,) = (path for path in spools.files("new") if "alice" in str(path))
    path.unlink()
    fail_syncs(spools, times=1)
    spools.checkpoint()
    assert (spools.look(ALICE), spools.look(BOB)) == ([], [HEAD + MESSAGE])
    assert on_disk(spools) == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("failing", [SYNCS, ("commit",)])
def test_a_lasting_failure_retires_nothing(spools, size, failing):
    spools.wait(spools.deliver(b"x" * size, ALICE))
    spools.calls.fail_none()
    spools.calls.error = errno.EIO
    spools.calls.fails = lambda number, name: name in failing
    for _ in range(2):
        with pytest.raises(StorageError):
            spools.checkpoint()
        assert len(on_disk(spools)) == 1
        assert spools.look(ALICE) == [ALONE + b"x" * size]
    assert [call.getTime() - spools.reactor.seconds() for call in spools.reactor.getDelayedCalls()] == [
        AFTER_FAILURE
    ]
    spools.calls.fail_none()
    spools.reactor.advance(AFTER_FAILURE)
    spools.checkpoint()
    assert on_disk(spools) == []
    assert spools.files("tmp") == []
    assert spools.look(ALICE) == [ALONE + b"x" * size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_could_not_be_shown_is_shown_later(spools, size, number):
    """The n-th rename or link fails after the commit: the answer is yes, and the checkpoint does the rest."""
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB, HIS_OWN.mailbox))
    spools.checkpoint()
    before = len(spools.files("new"))
    made = []

    def fails(count, name):
        made.append(name)
        return name in ("link", "rename") and sum(made.count(each) for each in ("link", "rename")) == number

    spools.calls.error = errno.EIO
    spools.calls.fails = fails
    carol = Destination(Address("carol", "example.org"), Address("sales", "example.org"))
    data = os.urandom(size)
    spools.wait(spools.deliver(data, ALICE, BOB, carol))
    spools.calls.fail_none()
    assert len(spools.files("new")) == before + 2
    assert len(on_disk(spools)) == 1
    spools.checkpoint()
    assert len(spools.files("new")) == before + 3
    for mailbox in (ALICE, BOB, carol.mailbox):
        assert spools.look(mailbox)[-1].endswith(data)
    assert on_disk(spools) == []
    assert spools.files("tmp") == []


def test_one_message_that_cannot_be_restored_does_not_hold_up_the_others(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.calls.fail_all("rename", errno.EIO)
    spools.wait(spools.deliver(b"hidden", ALICE))
    spools.wait(spools.deliver(b"x" * SIZES[1], BOB))
    with pytest.raises(StorageError):
        spools.checkpoint()
    assert on_disk(spools, "SELECT content FROM entry") == [b"hidden"]
    spools.calls.fail_none()
    spools.checkpoint()
    assert on_disk(spools) == []
    assert sorted(spools.look(ALICE)) == sorted([ALONE + MESSAGE, ALONE + b"hidden"])


def test_a_bug_costs_one_round(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    sync = spools.store.writer.sync
    spools.store.writer.sync = lambda texts: 1 / 0
    with pytest.raises(StorageError):
        spools.checkpoint()
    spools.store.writer.sync = sync
    assert len(on_disk(spools)) == 1
    spools.checkpoint()
    assert on_disk(spools) == []


def test_mail_is_put_off_while_syncing_is_far_behind(spools, monkeypatch):
    monkeypatch.setattr(checkpoint, "MANY", 0)
    spools.wait(spools.deliver(MESSAGE, ALICE))
    with pytest.raises(StorageError, match="not yet synced"):
        spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.checkpoint()
    spools.wait(spools.deliver(MESSAGE, ALICE))
