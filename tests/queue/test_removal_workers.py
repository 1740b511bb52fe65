"""Removal with several workers: the message may be in the spool of any of them."""

import errno
import shutil
import threading

import pytest

from mailserver.cluster.alone import Alone
from mailserver.queue.removal import SYNCED, SyncedMaildrops
from tests.support.peers import peers
from tests.support.queue.spools import Spools
from tests.support.store.messages import ALICE, BOB, MESSAGE


@pytest.fixture
def workers(tmp_path, spool_reactor):
    """The first worker, and another one."""
    found = [Spools(tmp_path / "data", spool_reactor, peers=peer.started) for peer in peers(2)]
    for each in found:
        each.open()
    yield found
    for each in reversed(found):
        each.calls.fail_none()
        each.close()


def peer_of(spools):
    return spools.peers.__self__


@pytest.mark.parametrize("removes", [0, 1])
@pytest.mark.parametrize("asks", [True, False])
def test_a_removed_message_does_not_come_back(workers, tmp_path, removes, asks):
    """The other worker is killed after the answer, and recovers. If nobody asks it, the message is back."""
    remover, other = workers[removes], workers[1 - removes]
    maildrops = (
        remover.maildrops if asks else SyncedMaildrops(remover.store, remover.spool.checkpoint, Alone())
    )
    other.wait(other.deliver(MESSAGE, ALICE, BOB))
    drop = remover.wait(maildrops.maildrop(ALICE))
    assert remover.wait(drop.remove([0])) == frozenset()
    drop.release()
    shutil.copytree(other.root, tmp_path / "killed")
    again = Spools(tmp_path / "killed", other.reactor, peers=peers(2)[1 - removes].started)
    again.open()
    assert len(again.look(ALICE)) == (0 if asks else 1)
    assert len(again.look(BOB)) == 1
    again.close()


def test_only_the_removed_messages_are_asked_about(workers):
    first, other = workers
    first.wait(first.deliver(MESSAGE, ALICE))
    other.wait(other.deliver(MESSAGE, BOB))
    drop = first.wait(first.maildrops.maildrop(ALICE))
    assert first.wait(drop.remove([])) == frozenset()
    assert peer_of(other).asked == []
    uid = drop.messages.uid(0)
    assert first.wait(drop.remove([0])) == frozenset()
    assert peer_of(other).asked == [(SYNCED, [uid])]
    assert len(other.rows()) == 1  # bob's is not synced for that
    drop.release()


def test_a_message_that_another_worker_is_publishing(workers, monkeypatch):
    """Alice sees it before its worker has answered."""
    first, other = workers
    shown, go_on = threading.Event(), threading.Event()
    rename = other.calls.rename

    def slow(source, target):
        rename(source, target)
        if "/alice/new/" in str(target):
            shown.set()
            assert go_on.wait(30)

    monkeypatch.setattr(other.calls, "rename", slow)
    delivered = other.deliver(MESSAGE, ALICE)
    assert shown.wait(30)
    drop = first.wait(first.maildrops.maildrop(ALICE))
    removal = drop.remove([0])
    assert not removal.called
    go_on.set()
    assert first.wait(removal) == frozenset()
    first.wait(delivered)
    drop.release()
    assert other.rows() == []


@pytest.mark.parametrize("problem", ["ended", "unsynced"])
def test_without_an_answer_nothing_is_removed(workers, problem):
    first, other = workers
    other.wait(other.deliver(MESSAGE, ALICE))
    drop = first.wait(first.maildrops.maildrop(ALICE))
    if problem == "ended":
        peer_of(other).gone = True
    else:
        other.calls.fail_all("commit", errno.EIO)
    assert first.wait(drop.remove([0])) == {0}
    assert len(first.files("new")) == 1
    peer_of(other).gone = False
    other.calls.fail_none()
    assert first.wait(drop.remove([0])) == frozenset()
    drop.release()
