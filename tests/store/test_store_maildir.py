"""What of the Maildir engine can be seen on the disk, and how other programs' doings are met."""

import os
import stat
import time
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads

import pytest
from twisted.logger import capturedLogs

from mailserver.errors import MaildropInUse, MessageVanished, StorageError
from mailserver.mail.address import Address
from mailserver.store import listing, maildir
from mailserver.store.listing import Listings
from tests.store.messages import ALICE, BOB, CAROL, MESSAGE, Content, contents, look, octets, to, together

OLD = time.time() - 3600


def count_scans(monkeypatch):
    """Count the scans from now on."""
    scans = []
    real = maildir.scan
    monkeypatch.setattr(maildir, "scan", lambda *arguments: scans.append(1) or real(*arguments))
    return scans


def settle(maildirs):
    """As if nothing had changed for a long time."""
    for folder in ("new", "cur"):
        os.utime(maildirs.box() / folder, (OLD, OLD))


def deliver(maildirs, *messages, mailbox=ALICE):
    for data in messages:
        maildirs.wait(maildirs.store.deliver(Content(data), to(mailbox)))


# ------------------------------------------------------------ on the disk


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o377])
def test_modes(maildirs, umask):
    before = os.umask(umask)
    try:
        maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE, BOB)))
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [maildirs.root, *maildirs.root.rglob("*")]}
    assert len(modes) == 1 + 1 + 2 * 4 + 2
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_a_file_is_the_message_and_its_name_tells_the_sizes(maildirs):
    deliver(maildirs, b"12345\r\n", b"123", b"")
    files = sorted(maildirs.files("new"), key=lambda path: path.stat().st_size)
    assert [path.read_bytes() for path in files] == [b"", b"123", b"12345\r\n"]
    assert [path.name.partition(",")[2] for path in files] == ["S=0,W=0", "S=3,W=5", "S=7,W=7"]
    assert all(path.parent == maildirs.box() / "new" for path in files)
    assert maildirs.files("tmp") == []


def test_a_name_that_is_too_long_touches_nothing(maildirs):
    long = Address("x" * 300, "d")
    with pytest.raises(StorageError):
        maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE, long)))
    with pytest.raises(StorageError):
        maildirs.wait(maildirs.store.maildrop(long))
    assert list(maildirs.root.iterdir()) == []


def test_folders_that_vanish_are_made_again(maildirs):
    for victim in ("tmp", "new", "cur"):
        deliver(maildirs, MESSAGE)
        for path in (maildirs.box() / victim).iterdir():
            path.unlink()
        (maildirs.box() / victim).rmdir()
        deliver(maildirs, MESSAGE)
        assert look(maildirs.wait, maildirs.store, ALICE)[-1] == MESSAGE
    for path in sorted(maildirs.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(ALICE, BOB)))
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]
    assert len(maildirs.files("new")) == 2
    assert maildirs.files("tmp") == []


def test_known_mailboxes_cost_no_folder_calls(maildirs):
    deliver(maildirs, MESSAGE)
    maildirs.calls.made.clear()
    deliver(maildirs, MESSAGE)
    assert maildirs.calls.names == [
        *["open", "chmod", "write", "fsync", "close"],
        "rename",
        *["open", "fsync", "close"],
    ]


def test_a_group_is_safe_before_it_is_visible_and_visible_before_it_is_answered(maildirs):
    deliver(maildirs, MESSAGE)
    answers = []
    maildirs.calls.made.clear()
    content = Content(b"x" * 1000)
    for mailbox in (ALICE, BOB, CAROL, ALICE):
        deferred = maildirs.store.deliver(content, to(mailbox))
        deferred.addCallback(lambda _: answers.append(len(maildirs.calls.made)))
    maildirs.wait(maildirs.store.close())
    names = maildirs.calls.names
    # However the four fell into groups: between a write and the next rename there is a sync, between
    # a rename and the answer another.
    unsafe = invisible = False
    for number, name in enumerate(names, start=1):
        if name == "write":
            unsafe = True
        elif name in ("fsync", "syncfs"):
            unsafe = invisible = False
        elif name == "rename":
            assert not unsafe
            invisible = True
        if number in answers:
            assert not invisible
    assert names.count("rename") == 4
    assert len(answers) == 4


def test_those_that_wait_are_committed_as_one_group(maildirs):
    deliver(maildirs, MESSAGE)
    begun, go_on = Event(), Event()
    slow = Content(MESSAGE)
    slow.chunks = lambda: begun.set() or (go_on.wait(30) and iter([MESSAGE]))
    deferreds = [maildirs.store.deliver(slow, to(ALICE))]
    assert begun.wait(30)
    maildirs.calls.made.clear()
    deferreds += [maildirs.store.deliver(Content(MESSAGE), to(ALICE)) for _ in range(50)]
    go_on.set()
    assert maildirs.wait(together(deferreds)) == [None] * 51
    # One sync of the folder for the first, one for the fifty.
    folders = [path for name, path in maildirs.calls.made if name == "open" and path.name == "new"]
    assert len(folders) == 2


def test_close_ends_the_thread(maildirs):
    deliver(maildirs, MESSAGE)
    (writer,) = [thread for thread in enumerate_threads() if thread.name == "maildir-writer"]
    maildirs.wait(maildirs.store.close())
    assert not writer.is_alive()


def test_what_a_crash_has_left_in_tmp_is_removed_when_it_is_old(maildirs):
    old = maildirs.put("tmp", "old", b"partial")
    young = maildirs.put("tmp", "young", b"another program is writing")
    (maildirs.box() / "tmp/folder").mkdir()
    for path in (old, maildirs.box() / "tmp/folder"):
        os.utime(path, (OLD - 36 * 3600, OLD - 36 * 3600))
    deliver(maildirs, MESSAGE)
    assert maildirs.files("tmp") == [maildirs.box() / "tmp/folder", young]


def test_a_stale_file_that_cannot_be_removed_stops_no_mail(maildirs):
    os.utime(maildirs.put("tmp", "old", b"partial"), (1, 1))
    maildirs.calls.fail_all("unlink", 5)
    with capturedLogs() as events:
        deliver(maildirs, MESSAGE)
    assert [event["log_level"].name for event in events] == ["warn"]
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]


def test_open_says_what_is_wrong(maildirs, tmp_path, reactor):
    (tmp_path / "file").write_text("")
    store = maildir.MaildirStore(tmp_path / "file", "host", maildirs.store._disk, reactor)
    with pytest.raises(StorageError):
        store.open()
    with pytest.raises(StorageError):
        maildirs.wait(store.deliver(Content(MESSAGE), to(ALICE)))


# ------------------------------------------------------------ other programs' files


FOREIGN = [
    (b"line\nline\n", b"line\r\nline\r\n"),
    (b"line\r\nline\r\n", b"line\r\nline\r\n"),
    (b"mixed\r\nline\nend", b"mixed\r\nline\r\nend"),
    (b"", b""),
    (b"\n", b"\r\n"),
    (b"end\r", b"end\r"),
    (b"l\n" * 200_000, b"l\r\n" * 200_000),
]
NAMES = ["1.2.host", "1.2.host:2,S", "noise", "é \udcff\n", "m" * 200, "1.M1P1.host,S={s},W={w}:2,"]


@pytest.mark.parametrize("folder", ["new", "cur"])
@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize(("data", "sent"), FOREIGN, ids=range(len(FOREIGN)))
def test_a_foreign_message_is_sent_with_crlf(maildirs, folder, name, data, sent):
    maildirs.put(folder, name.format(s=len(data), w=len(sent)), data)
    assert look(maildirs.wait, maildirs.store, ALICE) == [sent]
    maildirs.reopen()
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert contents(maildirs.wait, drop) == [sent]
    assert maildirs.wait(drop.remove([0])) == frozenset()
    drop.release()
    assert maildirs.files("*") == []


WRONG = ["1.h,S=3,W=5", "1.h,S=9,W=9", "1.h,S=10,W=9", "1.h,S=10,W=99", "1.h,S=10", "1.h,W=10"]
OURS = "1700000000.M000001P1Q1R0123456789ab.host"


@pytest.mark.parametrize("name", WRONG)
def test_an_implausible_size_in_a_name_is_not_believed(maildirs, name):
    maildirs.put("new", name, b"four\nfive\n")
    assert look(maildirs.wait, maildirs.store, ALICE) == [b"four\r\nfive\r\n"]


@pytest.mark.parametrize("sizes", ["", ",S=1,W=1", ",S=9,W=999", ",S=9,W=8"])
def test_a_file_of_ours_with_wrong_sizes_is_measured(maildirs, sizes):
    maildirs.put("new", OURS + sizes, b"bare\nline")
    assert look(maildirs.wait, maildirs.store, ALICE) == [b"bare\nline"]


@pytest.mark.parametrize("count", [100, 100_000])
def test_a_plausible_lie_is_found_out_and_corrected(maildirs, count):
    """The octets promised are the octets sent, or none: this session fails, the next is right."""
    data = b"ab\n" * count
    maildirs.put("new", f"1.h,S={len(data)},W={len(data) + 7}", data)
    settle(maildirs)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    with pytest.raises(StorageError):
        octets(maildirs.wait(drop.read(0)))
    drop.release()
    assert look(maildirs.wait, maildirs.store, ALICE) == [b"ab\r\n" * count]


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_file_that_is_cut_short_meanwhile(maildirs, size):
    deliver(maildirs, b"x" * size)
    settle(maildirs)
    assert len(look(maildirs.wait, maildirs.store, ALICE)) == 1
    os.truncate(maildirs.files("new")[0], 10)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    with pytest.raises(StorageError):
        octets(maildirs.wait(drop.read(0)))
    drop.release()
    assert look(maildirs.wait, maildirs.store, ALICE) == [b"x" * 10]


def test_sizes_of_foreign_files_are_computed_once(maildirs, monkeypatch):
    read = []
    real = listing.with_crlf
    monkeypatch.setattr(listing, "with_crlf", lambda chunks: read.append(1) or real(chunks))
    for number in range(3):
        maildirs.put("new", f"{number}.h", b"a\nb\n")
    maildirs.put("new", "believed,S=4,W=6", b"a\nb\n")
    for more in range(3):
        drop = maildirs.wait(maildirs.store.maildrop(ALICE))
        assert [message.size for message in drop.messages] == [6] * (4 + more)
        drop.release()
        assert len(read) == 3 + more
        maildirs.put("new", f"more{more}.h", b"a\nb\n")


def test_names_that_start_with_a_dot_are_no_messages(maildirs):
    maildirs.put("new", ".hidden", MESSAGE)
    assert look(maildirs.wait, maildirs.store, ALICE) == []


@pytest.mark.parametrize("others", [["1.h,S=23"], ["1.h,X=1", "1.h,S=23,W=23"]])
def test_unique_ids_stay_unique(maildirs, others):
    for name in ["1.h", *others, "2.h"]:
        maildirs.put("new", name, MESSAGE)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    uids = [message.uid for message in drop.messages]
    drop.release()
    assert len(set(uids)) == len(uids) == 2 + len(others)
    assert uids[-1] == "2.h"
    assert all(len(uid) == 41 for uid in uids[:-1])
    maildirs.reopen()
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert [message.uid for message in drop.messages] == uids
    drop.release()


# ------------------------------------------------------------ other programs' doings during a session


def moves(maildirs):
    """Flags set in place, a move to cur with flags, and flags changed there."""
    return {
        "seen": lambda path: path.rename(maildirs.box() / "cur" / f"{path.name}:2,S"),
        "flagged in new": lambda path: path.rename(path.with_name(f"{path.name}:2,F")),
        "twice": lambda path: path.rename(maildirs.box() / "cur" / f"{path.name}:2,FRS"),
    }


@pytest.mark.parametrize("size", [100, 1_000_000])
@pytest.mark.parametrize("move", ["seen", "flagged in new", "twice"])
def test_a_file_is_found_by_its_base_name(maildirs, size, move):
    data = [bytes([number + 65]) * size for number in range(3)]
    deliver(maildirs, *data)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    large = maildirs.wait(drop.read(1))
    uids = [message.uid for message in drop.messages]
    for path in maildirs.files("new"):
        moves(maildirs)[move](path)
    assert octets(large) == data[1]
    assert [octets(maildirs.wait(drop.read(index))) for index in range(3)] == data
    for path in maildirs.files("cur"):
        path.rename(path.with_name(path.name + "T"))
    assert octets(maildirs.wait(drop.read(0))) == data[0]
    for path in maildirs.files("cur"):
        path.rename(path.with_name(path.name + "x"))
    assert maildirs.wait(drop.remove([0, 2])) == frozenset()
    drop.release()
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert [message.uid for message in drop.messages] == uids[1:2]
    assert contents(maildirs.wait, drop) == data[1:2]
    drop.release()


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_a_file_that_another_program_removes(maildirs, size):
    deliver(maildirs, b"x" * size, MESSAGE)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    begun = maildirs.wait(drop.read(0))
    min(maildirs.files("new")).unlink()
    with pytest.raises(MessageVanished):
        maildirs.wait(drop.read(0))
    if not isinstance(begun, bytes):
        with pytest.raises(MessageVanished):
            octets(begun)
    assert octets(maildirs.wait(drop.read(1))) == MESSAGE
    with pytest.raises(MessageVanished):
        maildirs.wait(drop.read(0))
    assert maildirs.wait(drop.remove([0])) == frozenset()
    drop.release()
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]


def test_the_whole_mailbox_is_removed(maildirs):
    deliver(maildirs, MESSAGE)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    maildirs.box().rename(maildirs.root / "gone")
    with pytest.raises(MessageVanished):
        maildirs.wait(drop.read(0))
    assert maildirs.wait(drop.remove([0])) == frozenset()
    drop.release()
    assert look(maildirs.wait, maildirs.store, ALICE) == []


def test_a_file_in_both_folders_is_one_message_and_goes_as_one(maildirs):
    maildirs.put("new", "1.h", b"new\n")
    maildirs.put("cur", "1.h:2,S", b"cur\n")
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert [message.uid for message in drop.messages] == ["1.h"]
    assert contents(maildirs.wait, drop) == [b"cur\r\n"]
    assert maildirs.wait(drop.remove([0])) == frozenset()
    drop.release()
    assert maildirs.files("*") == []


# ------------------------------------------------------------ what is refused


def test_what_is_not_a_file_is_ignored_and_logged_once(maildirs, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"not mail")
    maildirs.put("new", "1.ok", MESSAGE)
    new, cur = maildirs.box() / "new", maildirs.box() / "cur"
    (new / "1.link").symlink_to(secret)
    (cur / "1.dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(cur / "1.fifo")
    (new / "1.folder").mkdir()
    with capturedLogs() as events:
        for _ in range(3):
            assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]
    assert sorted(event["path"] for event in events) == sorted(
        str(path) for path in (new / "1.link", cur / "1.dangling", cur / "1.fifo", new / "1.folder")
    )


def test_a_file_that_becomes_a_link_or_a_fifo_is_not_followed(maildirs, tmp_path):
    deliver(maildirs, MESSAGE, MESSAGE)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    link, fifo = maildirs.files("new")
    link.unlink()
    link.symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_bytes(MESSAGE)
    fifo.unlink()
    os.mkfifo(fifo)
    for index in (0, 1):
        with pytest.raises(StorageError):
            maildirs.wait(drop.read(index))
    drop.release()


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("folder", ["new", "cur", "tmp"])
@pytest.mark.parametrize("what", ["link", "dangling", "fifo", "owner"])
def test_a_maildir_whose_folders_are_not_its_own_is_refused(maildirs, tmp_path, folder, what, known):
    if what == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a folder away; test_a_mailbox_of_somebody_else is for all")
    if known:
        deliver(maildirs, MESSAGE)
        maildirs.files("new")[0].unlink()
    path = maildirs.put(folder, "file", MESSAGE).parent
    (path / "file").unlink()
    if what == "owner":
        os.chown(path, 1, -1)
    else:
        path.rmdir()
        elsewhere = tmp_path / "elsewhere"
        if what == "link":
            elsewhere.mkdir()
        path.symlink_to(elsewhere) if what != "fifo" else os.mkfifo(path)
    with capturedLogs() as events, pytest.raises(StorageError):
        maildirs.wait(maildirs.store.maildrop(ALICE))
    assert [event["log_level"].name for event in events] == ["error"]
    if not known or folder != "cur":
        with pytest.raises(StorageError):
            maildirs.wait(maildirs.store.deliver(Content(MESSAGE), to(BOB, ALICE)))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    # Refused is not locked for ever.
    with pytest.raises(StorageError):
        maildirs.wait(maildirs.store.maildrop(ALICE))
    deliver(maildirs, MESSAGE, mailbox=BOB)


def test_a_mailbox_of_somebody_else(maildirs, monkeypatch):
    deliver(maildirs, MESSAGE)
    if os.geteuid() == 0:
        os.chown(maildirs.box(), 1, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StorageError, match="belongs to user"):
        maildirs.wait(maildirs.store.maildrop(ALICE))


# ------------------------------------------------------------ locks and listings


def test_a_session_that_gives_up_while_the_mailbox_is_listed_leaves_no_lock(maildirs):
    deferred = maildirs.store.maildrop(ALICE)
    deferred.addErrback(lambda failure: None)
    with pytest.raises(MaildropInUse):
        maildirs.wait(maildirs.store.maildrop(ALICE))
    deferred.cancel()
    maildirs.wait(maildirs.store.maildrop(ALICE)).release()


def test_a_release_waits_for_the_removal(maildirs):
    deliver(maildirs, MESSAGE)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    removal = drop.remove([0])
    drop.release()
    with pytest.raises(MaildropInUse):
        maildirs.wait(maildirs.store.maildrop(ALICE))
    assert maildirs.wait(removal) == frozenset()
    maildirs.wait(maildirs.store.maildrop(ALICE)).release()


def test_a_mailbox_that_has_not_changed_is_not_scanned_again(maildirs, monkeypatch):
    deliver(maildirs, MESSAGE)
    settle(maildirs)
    scans = count_scans(monkeypatch)
    for _ in range(3):
        assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]
    assert len(scans) == 1


CHANGES = {
    "own delivery": lambda maildirs: deliver(maildirs, b"more\r\n"),
    "foreign delivery": lambda maildirs: maildirs.put("new", "9999999999.h", b"more\n"),
    "foreign delivery to cur": lambda maildirs: maildirs.put("cur", "9999999999.h", b"more\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(maildirs, change):
    deliver(maildirs, MESSAGE)
    settle(maildirs)
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]
    change(maildirs)
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE, b"more\r\n"]


def test_what_the_server_does_is_seen_whatever_the_clock_of_the_folder_says(maildirs):
    deliver(maildirs, MESSAGE)
    settle(maildirs)
    assert len(look(maildirs.wait, maildirs.store, ALICE)) == 1
    deliver(maildirs, MESSAGE)
    settle(maildirs)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert len(drop.messages) == 2
    maildirs.wait(drop.remove([0]))
    drop.release()
    settle(maildirs)
    assert len(look(maildirs.wait, maildirs.store, ALICE)) == 1


@pytest.mark.parametrize("shift", [0, 3600])
def test_a_second_change_within_one_tick_of_the_clock_is_seen(maildirs, shift):
    """A listing taken so soon after a change, or before it by a clock set back, is not kept."""
    now = time.time() + shift
    for number in range(2):
        maildirs.put("new", f"{number}.h", b"more\r\n")
        os.utime(maildirs.box() / "new", (now, now))
        assert len(look(maildirs.wait, maildirs.store, ALICE)) == number + 1


def test_few_listings_are_remembered(maildirs, monkeypatch):
    monkeypatch.setattr(listing, "MAX_REMEMBERED", 5)
    listings = Listings()
    deliver(maildirs, MESSAGE, MESSAGE)
    settle(maildirs)
    scanned = listing.scan(maildirs.box(), {})
    boxes = [maildirs.root / str(number) for number in range(4)]
    for box in boxes:
        listings.remember(box, scanned)
        listings.remember(box, scanned)
    assert [box for box in boxes if listings.last(box)] == boxes[2:]


@pytest.mark.parametrize("folder", ["new", "cur"])
def test_a_file_that_is_moved_while_it_is_looked_for_is_found(maildirs, monkeypatch, folder):
    deliver(maildirs, MESSAGE, MESSAGE)
    real = listing.measure
    moved = []

    def measure(path, base):
        if not moved:
            moved.append(path)
            Path(path).rename(maildirs.box() / folder / f"{base}:2,S")
        return real(path, base)

    monkeypatch.setattr(listing, "measure", measure)
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE, MESSAGE]
