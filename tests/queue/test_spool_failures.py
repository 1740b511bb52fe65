"""Each system call of taking a message in fails once, and then for a while."""

import errno
import threading
from itertools import cycle

import pytest
from twisted.logger import capturedLogs

from mailserver.durable import group
from mailserver.errors import StorageError, StorageFull
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import Destination
from mailserver.queue.writer import SpoolWriter
from mailserver.store.writer import IN_SPOOL
from tests.support.faulty_calls import open_files
from tests.support.queue.spools import envelope
from tests.support.runs import rest_slow
from tests.support.store.messages import ALICE, BOB, CAROL, MESSAGE, together

pytestmark = pytest.mark.usefixtures("young_heap")
ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE]
FULL = {errno.ENOSPC, errno.EDQUOT}
SIZES = {"small": len(MESSAGE), "large": IN_SPOOL + 1}


@pytest.fixture(params=["fsync", "syncfs"])
def spools(request, monkeypatch):
    """The spool with each of the two ways to sync, wherever the test runs."""
    monkeypatch.setattr(group, "_syncfs_answers_for", lambda device: request.param == "syncfs")
    return request.getfixturevalue("spools")


def three(number):
    """Three mailboxes; the first two share a text."""
    a, b, c = (Address(f"{name}{number}", "example.org") for name in "abc")
    return a, b, Destination(c, Address("alias", "example.org"))


@pytest.mark.parametrize("size", rest_slow(SIZES))
@pytest.mark.parametrize("new", rest_slow([True, False]), ids=["new mailboxes", "known mailboxes"])
def test_a_message_for_three(spools, size, new):
    data = b"x" * SIZES[size]
    spools.wait(spools.deliver(data, *three(0)))
    spools.checkpoint()
    descriptors = open_files(spools.root)
    kept = 3
    for number, error in enumerate(cycle(ERRORS), start=1):
        to = three(number if new else 0)
        before = spools.files("new")
        spools.calls.fail_at(number, error)
        try:
            spools.wait(spools.deliver(data, *to))
        except StorageError as caught:
            assert isinstance(caught, StorageFull) == (error in FULL)
            assert spools.files("new") == before
            assert spools.files("tmp") == []
        else:
            # There was no such call, or it came after the commit: then it is for the checkpoint to mend.
            made = spools.calls.names
            assert number > made.index("commit") + 1
            spools.calls.fail_none()
            spools.checkpoint()
            kept += 3
            if number > len(made):
                break
        assert open_files(spools.root) == descriptors
        spools.wait(spools.deliver(data, *to))
        kept += 3
        spools.checkpoint()
        assert len(spools.files("new")) == kept
        assert spools.files("tmp") == []
        assert spools.rows() == []
    assert number > (20 if new else 10)
    spools.reopen()
    assert len(spools.files("new")) == kept
    assert {path.read_bytes()[-len(data) :] for path in spools.files("new")} == {data}


@pytest.mark.parametrize("call", ["open", "write", "fsync", "syncfs", "close", "link", "rename", "commit"])
@pytest.mark.parametrize("size", SIZES)
def test_a_lasting_failure_and_its_end(spools, call, size):
    data = b"x" * SIZES[size]
    for _ in range(2):
        spools.calls.fail_none()
        spools.wait(spools.deliver(data, ALICE, BOB, CAROL))
    spools.checkpoint()
    before = spools.files("new")
    names = spools.calls.names
    taken = call not in names[: names.index("commit") + 1]
    spools.calls.fail_all(call, errno.ENOSPC)
    for _ in range(2):
        delivery = spools.deliver(data, ALICE, BOB, CAROL)
        if taken:
            spools.wait(delivery)
        else:
            with pytest.raises(StorageFull):
                spools.wait(delivery)
            assert spools.files("new") == before
            assert spools.files("tmp") == []
    spools.calls.fail_none()
    spools.wait(spools.deliver(data, ALICE, BOB, CAROL))
    spools.checkpoint()
    assert len(spools.files("new")) == len(before) + (9 if taken else 3)
    assert spools.files("tmp") == []
    assert spools.rows() == []


def test_one_of_a_group_fails_alone(spools):
    """Fifty wait while the first is written; one of them finds a file where a folder should be."""
    spools.wait(spools.deliver(MESSAGE, ALICE))
    (spools.root / "mail/example.org/bob").write_text("in the way")
    deliveries = [spools.deliver(MESSAGE, ALICE) for _ in range(50)]
    deliveries.insert(20, spools.deliver(MESSAGE, ALICE, BOB))
    results = spools.wait(together(deliveries))
    assert results.count(None) == 50
    assert len(spools.look(ALICE)) == 51
    assert spools.files("tmp") == []


def test_a_failed_commit_fails_its_group_and_nothing_more(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.calls.fail_all("commit", errno.EIO)
    results = spools.wait(together([spools.deliver(MESSAGE, ALICE) for _ in range(50)]))
    assert not any(result is None for result in results)
    spools.calls.fail_none()
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.reopen()
    assert len(spools.look(ALICE)) == 2
    assert spools.files("tmp") == []


def test_what_cannot_be_taken_back_is_logged(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.calls.error = errno.EROFS
    spools.calls.fails = lambda number, name: name in ("commit", "unlink")
    with capturedLogs() as events, pytest.raises(StorageError):
        spools.wait(spools.deliver(MESSAGE, ALICE))
    (left,) = spools.files("tmp")
    assert [event["path"] for event in events] == [str(left)]
    assert len(spools.files("new")) == 1


def test_a_bug_fails_the_group_and_the_thread_lives(spools, monkeypatch):
    spools.wait(spools.deliver(MESSAGE, ALICE))
    with monkeypatch.context() as patch:
        patch.setattr(SpoolWriter, "_stage", lambda self, jobs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    assert len(spools.files("new")) == 1
    spools.wait(spools.deliver(MESSAGE, ALICE))
    assert len(spools.files("new")) == 2


def test_content_that_can_be_read_only_once_fails_alone(spools, monkeypatch):
    """Bob's copy has to wait, so his message is read a second time; carol's is in the same group."""
    spools.quotas[BOB] = Quota(octets=1)
    staged, go_on = threading.Event(), threading.Event()
    stage = spools.store.writer.stage

    def slow(batch):
        staged.set()
        assert go_on.wait(30)
        return stage(batch)

    monkeypatch.setattr(spools.store.writer, "stage", slow)
    first = spools.deliver(MESSAGE, CAROL)
    assert staged.wait(30)
    message = spools.spool.receive(envelope(ALICE, BOB), b"")
    message.write(MESSAGE)
    chunks, reads = message.content.chunks, []

    def once():
        reads.append(1)
        if len(reads) > 1:
            raise OSError(errno.EIO, "Input/output error")
        return chunks()

    monkeypatch.setattr(message.content, "chunks", once)
    bad, second = message.commit(), spools.deliver(MESSAGE, CAROL)
    go_on.set()
    spools.wait(first)
    with pytest.raises(StorageError):
        spools.wait(bad)
    spools.wait(second)
    assert len(spools.look(CAROL)) == 2
    assert (spools.look(ALICE), spools.files("tmp")) == ([], [])
