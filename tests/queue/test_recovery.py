"""Recovery: every combination of row, files and content that a crash may leave."""

import errno
import os
import shutil
from itertools import count

import pytest
from twisted.logger import capturedLogs, formatEvent

from mailserver.errors import StorageError
from mailserver.events.queue import SpoolRecovered
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import Destination
from tests.support.queue.crashed import (
    ALIAS,
    ALONE,
    HEAD,
    SIZES,
    crash,
    damaged,
    has_lost_its_folders,
    is_empty,
    is_missing,
    is_short,
    is_still_in_tmp,
    is_twice,
    is_wrong,
    is_wrong_and_right,
    is_wrong_in_cur,
    new_file,
    row,
    serves,
    stays,
    was_moved,
)
from tests.support.queue.spools import Spools
from tests.support.runs import rest_slow
from tests.support.store.messages import ALICE, BOB, MESSAGE

GOOD = [stays, was_moved, is_twice]
GONE = [is_missing, is_still_in_tmp, has_lost_its_folders]
WRONG = [is_short, is_empty, is_wrong, is_wrong_in_cur]


@pytest.mark.parametrize("alices", [*GOOD, *GONE, *WRONG])
@pytest.mark.parametrize("bobs", [stays, is_missing, is_wrong])
@pytest.mark.parametrize("size", SIZES)
def test_files(spools, alices, bobs, size):
    """Each mailbox has the text once, whole, under its name, with the flags that it had."""
    data = os.urandom(SIZES[size])
    spools.wait(spools.deliver(data, ALICE, BOB))
    name = new_file(spools, "alice").name
    crash(spools)
    for box, change in (("alice", alices), ("bob", bobs)):
        change(new_file(spools, box))
    # What of the two is not the right file to begin with.
    wrong = sum(change in WRONG for change in (alices, bobs))
    with capturedLogs() as events:
        spools.open()
    (told,) = (event["log_event"] for event in events if isinstance(event.get("log_event"), SpoolRecovered))
    good = sum(change in GOOD for change in (alices, bobs))
    assert (told.synced, told.found, told.written, told.damaged) == (1, good, 2 - good, wrong)
    assert len(damaged(spools)) == wrong
    for mailbox in (ALICE, BOB):
        assert spools.look(mailbox) == [HEAD + data]
    assert spools.rows() == []
    if alices == was_moved:
        assert [path.name for path in spools.files("cur")] == [f"{name}:2,FS"]
    assert not [path for path in spools.files("tmp") if alices != is_still_in_tmp]
    serves(spools)
    # Once more: nothing is left to do.
    before = {path: path.stat().st_ino for folder in ("new", "cur") for path in spools.files(folder)}
    spools.reopen()
    assert before == {path: path.stat().st_ino for folder in ("new", "cur") for path in spools.files(folder)}


def test_a_right_file_beside_a_wrong_one_stays(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    crash(spools)
    is_wrong_and_right(new_file(spools, "alice"))
    spools.open()
    assert HEAD + MESSAGE in spools.look(ALICE)
    assert spools.rows() == []


@pytest.mark.parametrize("content", ["right", "wrong", "missing"])
@pytest.mark.parametrize("alices", [stays, is_missing, is_wrong])
@pytest.mark.parametrize("bobs", [stays, is_missing])
@pytest.mark.parametrize("size", SIZES)
def test_content(spools, content, alices, bobs, size):
    """The text comes from the spool, or else from another mailbox; is it nowhere, this is told."""
    data = os.urandom(SIZES[size])
    spools.wait(spools.deliver(data, ALICE, BOB))
    crash(spools)
    if content != "right":
        for path in spools.files("tmp"):
            (is_missing if content == "missing" else is_wrong)(path)
        if size == "small":
            row(spools, "UPDATE entry SET content = ?", None if content == "missing" else bytes(len(data)))
    for box, change in (("alice", alices), ("bob", bobs)):
        change(new_file(spools, box))
    spools.open()
    # Recovery looks at the mailboxes in order, and links what is missing to what was there.
    found = [spools.look(mailbox) for mailbox in (ALICE, BOB)]
    if content == "right" or stays in (alices, bobs):
        assert found == [[HEAD + data]] * 2
        assert len(damaged(spools)) == (alices is is_wrong)
    else:
        assert found == [[], []]
        assert len(damaged(spools)) == 1 + (alices is is_wrong)
    assert spools.rows() == []
    serves(spools)


@pytest.mark.parametrize("size", SIZES)
def test_several_texts(spools, size):
    """One message, two heads, and one of the two is lost."""
    data = os.urandom(SIZES[size])
    spools.wait(spools.deliver(data, ALICE, Destination(BOB, ALIAS)))
    crash(spools)
    is_missing(new_file(spools, "bob"))
    spools.open()
    assert spools.look(ALICE) == [HEAD + data]
    assert spools.look(BOB) == [HEAD + b"Delivered-To: sales@example.org\r\n" + data]
    assert (spools.rows(), spools.files("tmp")) == ([], [])


# ---------------------------------------------------------------- again and again


@pytest.mark.parametrize(
    ("size", "error", "first"), rest_slow([("small", errno.EIO, 1), ("large", errno.ENOSPC, 2)])
)
def test_a_failure_at_each_step_of_recovery(spools, tmp_path, size, error, first):
    """What a start could not do, the next one does, or the checkpoint; it never makes two of one.

    Every other step each, for they are many.
    """
    data = os.urandom(SIZES[size])
    spools.wait(spools.deliver(data, ALICE, BOB))
    spools.wait(spools.deliver(MESSAGE, ALICE))
    crash(spools)
    is_missing(new_file(spools, "bob"))
    is_wrong(spools.files("new")[0])
    refused = 0
    for number in count(first, 2):
        shutil.copytree(spools.root, tmp_path / str(number))
        again = Spools(tmp_path / str(number), spools.reactor)
        again.calls.fail_at(number, error)
        try:
            again.open()
        except StorageError:
            refused += 1
            again.engine.close()
            again._make()
            again.calls.fail_none()
            again.open()
        else:
            if number > len(again.calls.made):
                again.calls.fail_none()
                again.close()
                break
        failed_to_remove = again.calls.made[number - 1 : number] and again.calls.names[number - 1] == "unlink"
        again.calls.fail_none()
        again.checkpoint()
        assert sorted(map(len, again.look(ALICE))) == sorted([len(ALONE + MESSAGE), len(HEAD + data)])
        assert again.look(BOB) == [HEAD + data]
        assert again.rows() == []
        # A source whose removal has failed stays until it is swept as an orphan.
        assert len(again.files("tmp")) <= bool(failed_to_remove)
        again.close()
        shutil.rmtree(again.root)
    assert number > 20
    assert 0 < refused < number
    spools.open()


def test_one_line(spools):
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    spools.wait(spools.deliver(MESSAGE, ALICE))
    crash(spools)
    is_missing(spools.files("new")[0])
    with capturedLogs() as events:
        spools.open()
    (event,) = events
    assert formatEvent(event) == (
        "recovery: messages synced: 2 (copies found: 1, written again: 1), waiting: 1, "
        "damaged and set aside: 0, not yet synced: 0"
    )


def test_who_waits_still_waits(spools):
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, Destination(BOB, ALIAS)))
    before = spools.waiting()
    for _ in range(2):
        crash(spools)
        spools.open()
        assert spools.waiting() == before
        ((message, _),) = spools.waiting()
        assert b"".join(message.content.chunks()) == MESSAGE
        assert list(spools.engine.entries()) == []
