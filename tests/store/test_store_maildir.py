"""What of the Maildir engine can be seen on the disk; its locks and its listings."""

import gc
import os
import stat
import time
import tracemalloc
from pathlib import Path

import attrs
import pytest
from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs

from mailserver.config.keys.storage import StorageSection
from mailserver.durable.disk import Disk
from mailserver.errors import MaildropInUse, StorageError
from mailserver.mail.address import Address
from mailserver.store import folders, listing, maildir, names
from mailserver.store.listing import Listings
from mailserver.store.maildir import SCANS, MaildirStore
from mailserver.store.measure import Measurer
from mailserver.store.sizes import new_rows
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor
from tests.support.store.maildirs import make_store
from tests.support.store.messages import (
    ALICE,
    BOB,
    CAROL,
    MESSAGE,
    OLD,
    Content,
    age,
    deliver,
    deliver_to,
    look,
    to,
)


def count_scans(monkeypatch):
    """Count the scans from now on."""
    scans = []
    real = maildir.scan  # type: ignore[attr-defined]
    monkeypatch.setattr(maildir, "scan", lambda *arguments: scans.append(1) or real(*arguments))
    return scans


# ------------------------------------------------------------ on the disk


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes(maildirs, umask):
    before = os.umask(umask)
    try:
        maildirs.wait(deliver_to(maildirs.store, Content(MESSAGE), to(ALICE, BOB)))
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
        maildirs.wait(deliver_to(maildirs.store, Content(MESSAGE), to(ALICE, long)))
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
    maildirs.wait(deliver_to(maildirs.store, Content(MESSAGE), to(ALICE, BOB)))
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]
    assert len(maildirs.files("new")) == 2
    assert maildirs.files("tmp") == []


def test_known_mailboxes_cost_no_folder_calls(maildirs):
    deliver(maildirs, MESSAGE)
    maildirs.calls.made.clear()
    (staged,) = maildirs.store.writer.stage([(Content(MESSAGE), to(ALICE))])
    assert maildirs.calls.names == ["open", "write", "close"]
    maildirs.calls.made.clear()
    assert maildirs.store.writer.publish(staged.copies) == {}
    assert maildirs.calls.names == ["rename"]


def test_copies_with_the_same_octets_are_one_file(maildirs):
    deliver(maildirs, MESSAGE)
    maildirs.wait(deliver_to(maildirs.store, Content(b"x" * 1000), to(ALICE, BOB, CAROL)))
    links = {path.stat().st_nlink for path in maildirs.files("new") if path.stat().st_size == 1000}
    assert links == {3}


def test_what_a_crash_has_left_in_tmp_is_removed_when_it_is_old(maildirs):
    old = maildirs.put("tmp", "old", b"partial")
    young = maildirs.put("tmp", "young", b"another program is writing")
    (maildirs.box() / "tmp/folder").mkdir()
    for path in (old, maildirs.box() / "tmp/folder"):
        os.utime(path, (OLD - 36 * 3600, OLD - 36 * 3600))
    deliver(maildirs, MESSAGE)
    assert maildirs.files("tmp") == [maildirs.box() / "tmp/folder", young]


def test_a_server_that_runs_for_long_sweeps_again(maildirs, monkeypatch):
    deliver(maildirs, MESSAGE)
    old = maildirs.put("tmp", "old", b"partial")
    os.utime(old, (1, 1))
    deliver(maildirs, MESSAGE)
    assert old.exists()
    monkeypatch.setattr(folders, "SWEEP_EVERY", 0)
    deliver(maildirs, MESSAGE)
    assert not old.exists()


def test_a_stale_file_that_cannot_be_removed_stops_no_mail(maildirs):
    os.utime(maildirs.put("tmp", "old", b"partial"), (1, 1))
    maildirs.calls.fail_all("unlink", 5)
    with capturedLogs() as events:
        deliver(maildirs, MESSAGE)
    assert [event["log_level"].name for event in events] == ["warn"]
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]


def test_open_says_what_is_wrong(maildirs, tmp_path, reactor):
    (tmp_path / "file").write_text("")
    store = make_store(tmp_path / "file", maildirs.calls, reactor)
    with pytest.raises(StorageError):
        store.open()
    with pytest.raises(StorageError):
        maildirs.wait(deliver_to(store, Content(MESSAGE), to(ALICE)))


# ------------------------------------------------------------ locks and listings


def test_a_session_that_gives_up_while_the_mailbox_is_listed_leaves_no_lock(maildirs):
    deferred = maildirs.store.maildrop(ALICE)
    deferred.addErrback(lambda failure: None)
    with pytest.raises(MaildropInUse):
        maildirs.wait(maildirs.store.maildrop(ALICE))
    deferred.cancel()
    maildirs.wait(maildirs.store.maildrop(ALICE)).release()


def test_few_mailboxes_are_scanned_at_a_time(maildirs, monkeypatch):
    """A large one is scanned beside them, and a session that gives up takes no turn."""
    reactor = FakeReactor(held=True)
    store = MaildirStore(maildirs.root, "mail.example.org", Disk(), stand_in(reactor), damaged=stand_in(None))
    monkeypatch.setattr(maildir, "_is_large", lambda box: box.name == "large")
    scans, done = count_scans(monkeypatch), list[int]()
    mailboxes = [str(number) for number in range(SCANS)] + ["gone", "large", "other", "last"]
    opening = [store.maildrop(Address(name, "example.org")) for name in mailboxes]
    opening[SCANS].addErrback(lambda failure: failure.trap(CancelledError)).cancel()
    for number, each in enumerate(opening):
        if number != SCANS:
            each.addCallback(lambda drop, number: done.append(number), number)
    for after in (SCANS + 1, len(mailboxes) - 1):
        assert len(scans) == len(done)
        reactor.run_threads()
        assert len(scans) == len(done) == after
    assert sorted(done) == [number for number in range(len(mailboxes)) if number != SCANS]
    maildirs.wait(store.close())


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
    age(maildirs)
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
    age(maildirs)
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]
    change(maildirs)
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE, b"more\r\n"]


def test_what_the_server_does_is_seen_whatever_the_clock_of_the_folder_says(maildirs):
    deliver(maildirs, MESSAGE)
    age(maildirs)
    assert len(look(maildirs.wait, maildirs.store, ALICE)) == 1
    deliver(maildirs, MESSAGE)
    age(maildirs)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert len(drop.messages) == 2
    maildirs.wait(drop.remove([0]))
    drop.release()
    age(maildirs)
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
    age(maildirs)
    scanned = listing.scan(maildirs.box(), None, Measurer(new_rows()))
    boxes = [maildirs.root / str(number) for number in range(4)]
    for box in boxes:
        listings.remember(box, scanned)
        listings.remember(box, scanned)
    assert [box for box in boxes if listings.last(box)] == boxes[2:]


def test_a_listing_that_is_too_large_is_not_remembered(maildirs, monkeypatch):
    """What a large mailbox takes of the memory is given back when its session ends."""
    monkeypatch.setattr(listing, "MAX_REMEMBERED", 5)
    deliver(maildirs, *[MESSAGE] * 6)
    age(maildirs)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    drop.release()
    assert len(drop.messages) == 6
    assert maildirs.store._listings.last(maildirs.box()) is None


def test_a_mailbox_that_is_full_by_default_is_remembered():
    default = attrs.fields(StorageSection).quota_messages.default
    assert default is not None
    assert listing.MAX_REMEMBERED >= default > 0


@pytest.mark.parametrize("count", [0, 1, 7, 8, 50])
def test_many_names_are_sorted_in_parts(maildirs, monkeypatch, count):
    """New ones among those that were there, whatever their number, are where one sort would put them."""
    monkeypatch.setattr(listing, "SORTED_AT_ONCE", 7)
    added = []
    for rounds in range(4):
        for number in range(count if rounds % 2 else 3):
            added.append(f"{(number * 7919 + rounds * 31) % 100}.M{rounds}P1Q{number}.h")
            maildirs.put("cur", f"{added[-1]}:2,", b"a\n")
        drop = maildirs.wait(maildirs.store.maildrop(ALICE))
        drop.release()
        assert [message.uid for message in drop.messages] == sorted(added, key=names.order)


def test_a_listing_is_packed(maildirs):
    """A message costs its name and little more, and no objects for the garbage collector."""
    first = maildirs.put("cur", "0.h", b"a\n")
    for number in range(1, 5000):
        os.link(first, maildirs.box() / f"cur/{1700000000 + number}.M{number:06}P1.mail.example.org:2,S")
    gc.collect()
    tracemalloc.start()
    before = len(gc.get_objects())
    found = listing.scan(maildirs.box(), None, Measurer(new_rows()))
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.messages) == 5000
    assert used / 5000 < 100
    assert len(gc.get_objects()) - before < 100


@pytest.mark.parametrize("folder", ["new", "cur"])
def test_a_file_that_is_moved_while_it_is_looked_for_is_found(maildirs, monkeypatch, folder):
    deliver(maildirs, MESSAGE, MESSAGE)
    real = Measurer.packed
    moved = []

    def packed(measurer, path, base):
        if not moved:
            moved.append(path)
            Path(path).rename(maildirs.box() / folder / f"{base}:2,S")
        return real(measurer, path, base)

    monkeypatch.setattr(Measurer, "packed", packed)
    assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE, MESSAGE]
