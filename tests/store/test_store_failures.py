"""Each system call of staging and of a removal fails once, with each of the usual errors."""

import errno
from itertools import cycle

import pytest
from twisted.logger import capturedLogs

from mailserver.durable import group
from mailserver.errors import StorageError, StorageFull
from mailserver.interfaces import Staged
from mailserver.mail.address import Address
from mailserver.store.writer import IN_SPOOL
from tests.support.faulty_calls import open_files
from tests.support.runs import rest_slow
from tests.support.store.messages import ALICE, BOB, MESSAGE, Content, contents, deliver_to, to

pytestmark = pytest.mark.usefixtures("young_heap")
ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE]
FULL = {errno.ENOSPC, errno.EDQUOT}
SIZES = {"small": len(MESSAGE), "large": IN_SPOOL + 1}


@pytest.fixture(params=["fsync", "syncfs"])
def maildirs(request, monkeypatch):
    """The store with each of the two ways to sync, wherever the test runs."""
    monkeypatch.setattr(group, "_syncfs_answers_for", lambda device: request.param == "syncfs")
    return request.getfixturevalue("maildirs")


def stage(maildirs, content, deliveries):
    (outcome,) = maildirs.store.writer.stage([(content, deliveries)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome.copies


@pytest.mark.parametrize("size", rest_slow(SIZES))
@pytest.mark.parametrize("new", rest_slow([True, False]), ids=["new mailboxes", "known mailboxes"])
def test_what_cannot_be_staged_leaves_nothing(maildirs, size, new):
    """Two texts, one of them for two mailboxes."""
    content = Content(b"x" * SIZES[size])
    names = ("a", "b", "c")
    for number, error in enumerate(cycle(ERRORS), start=1):
        boxes = [Address(f"{name}{number if new else 0}", "example.org") for name in names]
        deliveries = to(*boxes[:2], head=b"One: \r\n") + to(boxes[2], head=b"Other: \r\n")
        if not new:
            maildirs.store.writer.discard(stage(maildirs, content, deliveries))
        descriptors = open_files(maildirs.root)
        maildirs.calls.fail_at(number, error)
        try:
            texts = stage(maildirs, content, deliveries)
        except StorageError as caught:
            assert isinstance(caught, StorageFull) == (error in FULL)
            assert number <= len(maildirs.calls.made)
            assert maildirs.files("tmp") == []
            assert maildirs.calls.names[number - 1] != "unlink"
        else:
            assert number > len(maildirs.calls.made)
            assert len(maildirs.files("tmp")) == 2
        assert maildirs.files("new") == []
        assert open_files(maildirs.root) == descriptors
        if number > len(maildirs.calls.made):
            break
        maildirs.store.writer.discard(stage(maildirs, content, deliveries))
        assert maildirs.files("tmp") == []
    assert {len(text.mailboxes) for text in texts} == {1, 2}
    assert number > (20 if new else 6)


def test_one_of_a_group_fails_alone(maildirs):
    """One of fifty finds a file where a folder should be, after a text of it has been written."""
    maildirs.wait(deliver_to(maildirs.store, Content(MESSAGE), to(ALICE)))
    maildirs.box("bob").write_text("in the way")
    batch = [(Content(MESSAGE), to(ALICE)) for _ in range(50)]
    batch.insert(20, (Content(MESSAGE), to(ALICE) + to(BOB, head=b"Other: \r\n")))
    outcomes = maildirs.store.writer.stage(batch)
    assert isinstance(outcomes.pop(20), StorageError)
    assert all(isinstance(outcome, Staged) for outcome in outcomes)
    assert len(maildirs.files("tmp")) == 50


def test_a_large_one_of_a_group_fails_alone(maildirs):
    writes = iter([False, True])
    maildirs.calls.error = errno.EIO
    maildirs.calls.fails = lambda number, name: name == "write" and next(writes, False)
    large = Content(b"x" * SIZES["large"])
    outcomes = maildirs.store.writer.stage([(large, to(ALICE)) for _ in range(3)])
    assert [isinstance(outcome, Staged) for outcome in outcomes] == [False, True, True]
    assert len(maildirs.files("tmp")) == 2


def test_what_cannot_be_taken_back_is_logged(maildirs):
    texts = stage(maildirs, Content(MESSAGE), to(ALICE))
    maildirs.calls.fail_all("unlink", errno.EROFS)
    with capturedLogs() as events:
        maildirs.store.writer.discard(texts)
    (left,) = maildirs.files("tmp")
    assert [event["path"] for event in events] == [str(left)]


def test_a_store_lets_go_of_everything(maildirs, monkeypatch):
    monkeypatch.setattr(group, "_syncfs_answers_for", lambda device: True)
    maildirs.wait(maildirs.store.close())
    before = open_files(maildirs.root)
    maildirs.reopen()
    assert len(open_files(maildirs.root)) == len(before) + 2
    for _ in range(2):
        maildirs.wait(maildirs.store.close())
    assert open_files(maildirs.root) == before


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_removal_that_partly_fails(maildirs, error):
    number = 0
    while True:
        number += 1
        maildirs.calls.fail_none()
        for text in (b"1\r\n", b"2\r\n", b"3\r\n"):
            maildirs.wait(deliver_to(maildirs.store, Content(text), to(ALICE)))
        # The second is in cur, so two folders are touched.
        second = maildirs.files("new")[1]
        second.rename(maildirs.box() / "cur" / f"{second.name}:2,S")
        drop = maildirs.wait(maildirs.store.maildrop(ALICE))
        assert contents(maildirs.wait, drop) == [b"1\r\n", b"2\r\n", b"3\r\n"]
        maildirs.calls.fail_at(number, error)
        with capturedLogs() as events:
            failed = maildirs.wait(drop.remove([0, 1, 2]))
        made = maildirs.calls.names
        if number > len(made):
            assert failed == frozenset()
            break
        if made[number - 1] == "unlink":
            # The calls unlink in the order of the numbers; what is told is what remains.
            assert failed == {number - 1}
            left = {path.name.partition(":")[0].partition(",")[0] for path in maildirs.files("*")}
            assert left == {drop.messages[number - 1].uid}
        else:
            assert failed in ({0, 2}, {1})
            assert maildirs.files("*") == []
        assert len(events) == len(failed)
        drop.release()
        maildirs.calls.fail_none()
        drop = maildirs.wait(maildirs.store.maildrop(ALICE))
        assert maildirs.wait(drop.remove(range(len(drop.messages)))) == frozenset()
        drop.release()
        assert maildirs.files("*") == []
    assert number > 8
