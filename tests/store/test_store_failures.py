"""Each system call of a delivery and of a removal fails once, with each of the usual errors."""

import errno
from itertools import cycle

import pytest
from twisted.logger import capturedLogs

from mailserver.durable import group
from mailserver.errors import StorageError, StorageFull
from mailserver.mail.address import Address
from tests.durable.faults import open_descriptors
from tests.store.messages import ALICE, BOB, CAROL, MESSAGE, Content, contents, look, to, together

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS]
FULL = {errno.ENOSPC, errno.EDQUOT}
MAILBOXES = (ALICE, BOB, CAROL)


@pytest.fixture(params=["fsync", "syncfs"])
def maildirs(request, monkeypatch):
    """The store with each of the two ways to sync, wherever the test runs."""
    monkeypatch.setattr(group, "_syncfs_answers_for", lambda device: request.param == "syncfs")
    return request.getfixturevalue("maildirs")


def mailboxes(name):
    return [Address(f"{name}{number}", "example.org") for number in range(3)]


@pytest.mark.parametrize("new", [True, False], ids=["new mailboxes", "known mailboxes"])
def test_a_delivery_to_three(maildirs, new):
    content = Content(MESSAGE * 1000)
    boxes = mailboxes("first")
    maildirs.wait(maildirs.store.deliver(content, to(*boxes)))
    descriptors = open_descriptors()
    kept = 3
    for number, error in enumerate(cycle(ERRORS), start=1):
        if new:
            boxes = mailboxes(f"box{number}.")
        maildirs.calls.fail_at(number, error)
        before = maildirs.files("new")
        try:
            maildirs.wait(maildirs.store.deliver(content, to(*boxes)))
        except StorageError as caught:
            assert isinstance(caught, StorageFull) == (error in FULL)
            assert maildirs.files("new") == before
        else:
            # Either there was no such call, or it was a sync of the group that each file then repeated.
            kept += 3
            assert len(maildirs.files("new")) == kept
            if number > len(maildirs.calls.made):
                break
            assert maildirs.calls.names[number - 1] == "syncfs"
        assert maildirs.files("tmp") == []
        assert open_descriptors() == descriptors
        maildirs.wait(maildirs.store.deliver(content, to(*boxes)))
        kept += 3
        assert len(maildirs.files("new")) == kept
    assert number > (40 if new else 15)
    assert {path.read_bytes() for path in maildirs.files("new")} == {content.data}


@pytest.mark.parametrize("call", ["open", "chmod", "write", "fsync", "syncfs", "close", "rename"])
def test_a_lasting_failure_and_its_end(maildirs, call):
    for _ in range(2):
        maildirs.calls.made.clear()
        maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(*MAILBOXES)))
    before = maildirs.files("new")
    used = call in maildirs.calls.names
    maildirs.calls.fail_all(call, errno.ENOSPC)
    for _ in range(2 if used else 0):
        with pytest.raises(StorageFull):
            maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(*MAILBOXES)))
        assert maildirs.files("new") == before
        assert maildirs.files("tmp") == []
    maildirs.calls.fail_none()
    maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(*MAILBOXES)))
    assert len(maildirs.files("new")) == len(before) + 3


def test_one_of_a_group_fails_alone(maildirs):
    """Fifty wait while the first is written; one of them finds no folder and a file in its place."""
    maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE)))
    (maildirs.box("bob")).write_text("in the way")
    deferreds = [maildirs.store.deliver(Content(MESSAGE), to(ALICE)) for _ in range(50)]
    deferreds.insert(20, maildirs.store.deliver(Content(MESSAGE), to(ALICE, BOB)))
    results = maildirs.wait(together(deferreds))
    assert results.count(None) == 50
    assert len(look(maildirs.wait, maildirs.store, ALICE)) == 51
    assert maildirs.files("tmp") == []


def test_what_cannot_be_taken_back_is_logged(maildirs):
    maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE)))
    maildirs.calls.error = errno.EROFS
    maildirs.calls.fails = lambda number, name: name in ("rename", "unlink")
    with capturedLogs() as events, pytest.raises(StorageError):
        maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE)))
    (left,) = maildirs.files("tmp")
    assert [event["path"] for event in events] == [left]
    assert len(maildirs.files("new")) == 1


def test_a_bug_fails_the_group_and_the_thread_lives(maildirs, monkeypatch):
    maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE)))
    with monkeypatch.context() as patch:
        patch.setattr(group.GroupWriter, "sync_dirs", lambda self, folders: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE, BOB)))
    assert len(maildirs.files("new")) == 1
    maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE)))
    assert len(maildirs.files("new")) == 2


def test_a_delivery_after_the_end(maildirs):
    maildirs.wait(maildirs.store.close())
    maildirs.wait(maildirs.store.close())
    with pytest.raises(StorageError):
        maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE)))


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_removal_that_partly_fails(maildirs, error):
    number = 0
    while True:
        number += 1
        maildirs.calls.fail_none()
        for text in (b"1\r\n", b"2\r\n", b"3\r\n"):
            maildirs.wait(maildirs.store.deliver(Content(text), to(ALICE)))
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
