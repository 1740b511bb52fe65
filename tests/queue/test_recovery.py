"""Recovery: every combination of row, files and content that a crash may leave, and then some."""

import errno
import os
import shutil
import sqlite3
from itertools import count
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from mailserver.errors import StorageError
from mailserver.interfaces import Quota
from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination
from mailserver.store.writer import IN_SPOOL
from tests.queue.spools import Spools
from tests.store.messages import ALICE, BOB, MESSAGE

SIZES = {"small": 100, "large": IN_SPOOL + 1}
ALIAS = Address("sales", "example.org")
HEAD = b"Return-Path: <me@x.example>\r\n"
ALONE = HEAD + b"Delivered-To: alice@example.org\r\n"


def crash(spools: Spools) -> None:
    """Leave what a kill leaves, and be ready to open it."""
    spools.leave()
    spools._make()


def row(spools, statement, *values):
    """Change the spool behind its back; the answer is what it said."""
    database = sqlite3.connect(spools.root / "spool" / "queue.db")
    try:
        with database:
            return database.execute(statement, values).fetchall()
    finally:
        database.close()


def new_file(spools, name):
    (path,) = (path for path in spools.files("new") if path.parts[-3] == name)
    return path


def damaged(spools):
    """What has been set aside, with the reason for each."""
    found = {}
    for path in sorted(spools.root.glob("damaged/*")):
        if path.suffix != ".reason":
            reason = path.with_name(f"{path.name}.reason")
            assert reason.read_bytes().strip()
            found[path] = path.read_bytes()
    assert len(list(spools.root.glob("damaged/*"))) == 2 * len(found)
    return found


def serves(spools):
    spools.wait(spools.deliver(b"Subject: served\r\n\r\n", Address("carol", "example.org")))
    assert spools.look(Address("carol", "example.org"))[-1].endswith(b"served\r\n\r\n")


# ---------------------------------------------------------------- files


def stays(path: Path) -> None:
    pass


def is_missing(path: Path) -> None:
    path.unlink()


def was_moved(path: Path) -> None:
    path.rename(path.parents[1] / "cur" / f"{path.name}:2,FS")


def is_still_in_tmp(path: Path) -> None:
    temporary = path.parents[1] / "tmp" / path.name.partition(",")[0]
    if temporary.exists():  # a large one has both names until it is settled
        path.unlink()
    else:
        path.rename(temporary)


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def is_short(path: Path) -> None:
    replace(path, path.read_bytes()[:-1])


def is_empty(path: Path) -> None:
    replace(path, b"")


def is_wrong(path: Path) -> None:
    replace(path, bytes(len(path.read_bytes())))


def is_wrong_in_cur(path: Path) -> None:
    is_wrong(path)
    was_moved(path)


def is_twice(path: Path) -> None:
    os.link(path, path.parents[1] / "cur" / f"{path.name}:2,S")


def is_wrong_and_right(path: Path) -> None:
    right = path.parents[1] / "cur" / f"{path.name}:2,S"
    right.write_bytes(path.read_bytes())
    is_wrong(path)


def has_lost_its_folders(path: Path) -> None:
    for folder in ("new", "cur"):
        for each in (path.parents[1] / folder).iterdir():
            each.unlink()
        (path.parents[1] / folder).rmdir()


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
    (told,) = (event["recovery"] for event in events if "recovery" in event)
    good = sum(change in GOOD for change in (alices, bobs))
    assert (told.messages, told.there, told.written, told.set_aside) == (1, good, 2 - good, wrong)
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
    assert before == {
        path: path.stat().st_ino for folder in ("new", "cur") for path in spools.files(folder)
    }


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
            row(spools, "UPDATE message SET content = ?", None if content == "missing" else bytes(len(data)))
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


# ---------------------------------------------------------------- rows

ROWS = {
    "no JSON": "UPDATE message SET texts = '{'",
    "cut": "UPDATE message SET texts = substr(texts, 1, length(texts) - 4)",
    "null": "UPDATE message SET texts = 'null'",
    "numbers": "UPDATE message SET texts = '[1]'",
    "too few": "UPDATE message SET texts = '[[\"name\"]]'",
    "other types": "UPDATE message SET texts = '[[1,2,3,4,5,6,7]]'",
    "no UTF-8": "UPDATE message SET texts = CAST(x'ff' AS TEXT)",
    "octets": "UPDATE message SET texts = x'00ff'",
    "content gone": "UPDATE message SET content = NULL",
    "content a text": "UPDATE message SET content = 'text'",
    "content a number": "UPDATE message SET content = 5",
    "content wrong": "UPDATE message SET content = zeroblob(length(content))",
}


@pytest.mark.parametrize("damage", ROWS)
@pytest.mark.parametrize("waits", [False, True])
def test_damaged_rows(spools, damage, waits):
    """The row is set aside with all that it has, and the others are recovered."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, *([BOB] if waits else [])))
    spools.wait(spools.deliver(b"Subject: another\r\n\r\n", ALICE))
    crash(spools)
    for path in spools.files("new"):
        is_missing(path)
    ((id_,),) = row(spools, "SELECT id FROM message WHERE seq = 1")
    row(spools, f"{ROWS[damage]} WHERE seq = 1")
    with capturedLogs() as events:
        spools.open()
    (told,) = (event["recovery"] for event in events if "recovery" in event)
    assert (told.set_aside, told.messages, told.waiting) == (1, 1, 0)
    ((path, octets),) = damaged(spools).items()
    assert id_ in path.name
    if "content" not in damage:
        assert octets == MESSAGE
    reason = path.with_name(f"{path.name}.reason").read_text(errors="replace")
    assert "me@x.example" in reason
    assert any(str(path) in str(event.get("where")) for event in events)
    (found,) = spools.look(ALICE)
    assert found.endswith(b"another\r\n\r\n")
    assert spools.rows() == []
    serves(spools)


def test_a_damaged_row_does_not_touch_good_files(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    crash(spools)
    row(spools, ROWS["no JSON"])
    spools.open()
    assert spools.look(ALICE) == spools.look(BOB) == [HEAD + MESSAGE]
    assert len(damaged(spools)) == 1


@pytest.mark.parametrize("folder", ["new", "cur"])
def test_a_mailbox_that_cannot_be_written_stops_nobody_else(spools, tmp_path, folder):
    """Its message stays in the spool until it can be."""
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.wait(spools.deliver(MESSAGE, BOB))
    crash(spools)
    box = spools.root / "mail/example.org/alice"
    for path in spools.files("new"):
        is_missing(path)
    (box / folder).rmdir()
    (box / folder).symlink_to(tmp_path)
    spools.open()
    assert len(spools.look(BOB)) == 1
    assert len(spools.rows()) == 1
    with pytest.raises(StorageError):
        spools.checkpoint()
    serves(spools)
    (box / folder).unlink()
    spools.checkpoint()
    assert len(spools.look(ALICE)) == 1
    assert spools.rows() == []


# ---------------------------------------------------------------- the database


def write_garbage(path):
    path.write_bytes(b"no database\n" * 1000)


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 100])


def spoil_a_page(path):
    data = bytearray(path.read_bytes())
    data[100:4096] = bytes(3996)
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [write_garbage, cut_in_half, spoil_a_page])
def test_a_spool_that_is_no_database_is_set_aside(spools, spoil):
    for _ in range(50):
        spools.wait(spools.deliver(MESSAGE * 20, ALICE))
    crash(spools)
    path = spools.root / "spool/queue.db"
    row(spools, "PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(path)
    spoiled = path.read_bytes()
    with capturedLogs() as events:
        spools.open()
    assert spoiled in damaged(spools).values()
    assert any("damaged" in str(event.get("log_format")) for event in events)
    assert len(spools.look(ALICE)) == 50
    serves(spools)
    spools.reopen()
    assert len(damaged(spools)) >= 1


# ---------------------------------------------------------------- again and again


@pytest.mark.parametrize(("size", "error", "first"), [("small", errno.EIO, 1), ("large", errno.ENOSPC, 2)])
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
            again.spool._database.close()
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
    told = event["recovery"]
    assert (told.messages, told.there, told.written, told.waiting, told.set_aside) == (2, 1, 1, 1, 0)
    assert "recovery" in str(told) and "\n" not in str(told)


def test_who_waits_still_waits(spools):
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, Destination(BOB, ALIAS)))
    before = list(spools.spool.waiting())
    for _ in range(2):
        crash(spools)
        spools.open()
        assert list(spools.spool.waiting()) == before
        ((seq, _),) = before
        assert spools.spool.load(seq).content == MESSAGE
        assert spools.spool.load(seq).texts == ()
