"""Removal and the checkpoint: a message that was removed by an answered QUIT never comes back."""

import errno
import shutil
import threading
from contextlib import contextmanager

import pytest
from zope.interface.verify import verifyObject

from mailserver.errors import MaildropInUse, StorageError
from mailserver.interfaces import IMaildrop, IMaildrops
from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination
from mailserver.store.writer import IN_SPOOL
from tests.support.queue.spools import Spools
from tests.support.store.messages import ALICE, BOB, MESSAGE

SIZES = (100, IN_SPOOL + 1)
KEPT = b"Subject: kept\r\n\r\n"


def after_a_crash(spools, name):
    """The same data as a server finds it that starts after a kill at this moment."""
    root = spools.root.parent / name
    shutil.copytree(spools.root, root)
    return Spools(root, spools.reactor)


@contextmanager
def no_syncing(spools):
    """The checkpoint stands still before it syncs anything, until the end of the block."""
    inside, go_on = threading.Event(), threading.Event()
    writer = spools.store.writer
    sync = writer.sync

    def slow(texts):
        inside.set()
        assert go_on.wait(30)
        return sync(texts)

    writer.sync = slow
    try:
        yield inside
    finally:
        writer.sync = sync
        go_on.set()


def test_interfaces(spools):
    assert verifyObject(IMaildrops, spools.maildrops)
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    assert verifyObject(IMaildrop, drop)
    drop.release()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("synced", [False, True])
def test_what_was_removed_does_not_come_back(spools, size, moved, synced):
    """Whatever the crash leaves, alice has what she kept, and bob what he never removed."""
    data = b"x" * size
    spools.wait(spools.deliver(data, ALICE, BOB))
    spools.wait(spools.deliver(KEPT, ALICE))
    if synced:
        spools.checkpoint()
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    index = 0 if drop.messages[0].size > drop.messages[1].size else 1
    if moved:
        for path in spools.files("new"):
            path.rename(path.parents[1] / "cur" / f"{path.name}:2,S")
    assert spools.wait(drop.remove([index])) == frozenset()
    crashed = after_a_crash(spools, "crashed")
    drop.release()
    crashed.open()
    for _ in range(2):
        (kept,) = crashed.look(ALICE)
        (bobs,) = crashed.look(BOB)
        assert kept.endswith(KEPT) and bobs.endswith(data)
        crashed.reopen()
    crashed.close()


def test_a_removal_waits_for_the_checkpoint(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    with no_syncing(spools) as inside:
        removed = drop.remove([0])
        assert inside.wait(30)
        assert len(spools.files("new")) == 1
        assert not removed.called
    assert spools.wait(removed) == frozenset()
    assert spools.files("new") == []
    assert spools.rows() == []
    drop.release()


def test_what_is_synced_or_nothing_waits_for_no_checkpoint(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.checkpoint()
    spools.wait(spools.deliver(MESSAGE, BOB))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    assert spools.wait(drop.remove([])) == frozenset()
    assert spools.wait(drop.remove([0])) == frozenset()
    assert len(spools.rows()) == 1
    drop.release()


def test_released_while_it_removes(spools):
    """The lock stays until the removal is done: nobody sees half of it."""
    spools.wait(spools.deliver(MESSAGE, ALICE))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    with no_syncing(spools) as inside:
        removed = drop.remove([0])
        assert inside.wait(30)
        drop.release()
        drop.release()
        with pytest.raises(MaildropInUse):
            spools.wait(spools.maildrops.maildrop(ALICE))
    assert spools.wait(removed) == frozenset()
    assert spools.look(ALICE) == []


def test_after_release_nothing_is_removed(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    drop.release()
    with pytest.raises(StorageError):
        spools.wait(drop.remove([0]))
    assert len(spools.look(ALICE)) == 1


def test_what_cannot_be_synced_is_not_removed(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.checkpoint()
    spools.wait(spools.deliver(MESSAGE, ALICE))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    spools.calls.fail_all("commit", errno.EIO)
    assert spools.wait(drop.remove([0, 1])) >= {1}
    drop.release()
    spools.calls.fail_none()
    remaining = len(spools.look(ALICE))
    assert remaining >= 1
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    assert spools.wait(drop.remove(range(remaining))) == frozenset()
    drop.release()
    assert spools.look(ALICE) == []


def test_reading_goes_through(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE, Destination(BOB, Address("sales", "example.org"))))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    assert spools.wait(drop.read(0)) == b"Return-Path: <me@x.example>\r\n" + MESSAGE
    assert drop.messages[0].size == len(b"Return-Path: <me@x.example>\r\n" + MESSAGE)
    drop.release()


def test_what_is_just_being_shown_is_not_synced(spools, monkeypatch):
    """Alice sees her message while the writer is still busy with the rest of its group."""
    shown, go_on = threading.Event(), threading.Event()
    rename = spools.calls.rename

    def slow(source, target):
        rename(source, target)
        if "/alice/new/" in str(target):
            shown.set()
            assert go_on.wait(30)

    monkeypatch.setattr(spools.calls, "rename", slow)
    delivered = spools.deliver(MESSAGE, ALICE)
    assert shown.wait(30)
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    removal = drop.remove([0])
    assert not removal.called
    go_on.set()
    assert spools.wait(removal) == frozenset()
    spools.wait(delivered)
    drop.release()
    again = after_a_crash(spools, "again")
    again.open()
    assert again.look(ALICE) == []
    again.close()


def test_what_cannot_be_synced_for_one_is_removed_for_another(spools, monkeypatch):
    rename = spools.calls.rename

    def refused(source, target):
        if "/bob/new/" in str(target):
            raise OSError(errno.EACCES, "Permission denied", str(target))
        rename(source, target)

    monkeypatch.setattr(spools.calls, "rename", refused)
    spools.wait(spools.deliver(MESSAGE, BOB))
    spools.wait(spools.deliver(MESSAGE, ALICE))
    drop = spools.wait(spools.maildrops.maildrop(ALICE))
    assert spools.wait(drop.remove([0])) == frozenset()
    drop.release()
    monkeypatch.setattr(spools.calls, "rename", rename)
    spools.checkpoint()
    assert len(spools.look(BOB)) == 1
