"""How messages and doings of other programs in a Maildir are met."""

import os
from itertools import permutations

import pytest

from mailserver.errors import MessageVanished, StorageError
from mailserver.store import measure
from tests.support.store.messages import (
    ALICE,
    MESSAGE,
    age,
    contents,
    deliver,
    look,
    octets,
)

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


CHANGED = [
    (b"a\r\n.\r\nb\r\n", b"a\n.\nb\n", b"a\r\n.\r\nb\r\n"),
    (b"a\r\nb\r\n", b"a\nb", b"a\r\nb"),
    (b"a\r\nb", b"a\r\n\nb\n", b"a\r\n\r\nb\r\n"),
    (b"a\r\n", b"", b""),
    (b"ab\r\n" * 100_000, b"ab\n" * 100_000, b"ab\r\n" * 100_000),
]


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize(("ours", "changed", "sent"), CHANGED, ids=range(len(CHANGED)))
def test_a_file_of_ours_that_another_program_has_changed(maildirs, ours, changed, sent, known):
    """It is sent as any file of others, with its true size; a session that cannot do so gives nothing."""
    deliver(maildirs, ours, MESSAGE)
    age(maildirs)
    before = uids(maildirs)
    min(maildirs.files("new")).write_bytes(changed)
    if known:
        drop = maildirs.wait(maildirs.store.maildrop(ALICE))
        with pytest.raises(StorageError):
            maildirs.wait(drop.read(0))
        drop.release()
    else:
        maildirs.reopen()
    assert look(maildirs.wait, maildirs.store, ALICE) == [sent, MESSAGE]
    assert uids(maildirs) == before


@pytest.mark.parametrize("sizes", ["", ",S=1,W=1", ",S=9,W=999", ",S=9,W=8", ",W=9", ",S=10,W=10"])
def test_a_name_of_ours_with_wrong_sizes(maildirs, sizes):
    maildirs.put("new", OURS + sizes, b"bare\nline")
    assert look(maildirs.wait, maildirs.store, ALICE) == [b"bare\r\nline"]


@pytest.mark.parametrize("count", [100, 100_000])
def test_a_plausible_lie_is_found_out_and_corrected(maildirs, count):
    """The octets promised are the octets sent, or none: this session fails, the next is right."""
    data = b"ab\n" * count
    maildirs.put("new", f"1.h,S={len(data)},W={len(data) + 7}", data)
    age(maildirs)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    with pytest.raises(StorageError):
        octets(maildirs.wait(drop.read(0)))
    drop.release()
    assert look(maildirs.wait, maildirs.store, ALICE) == [b"ab\r\n" * count]


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_file_that_is_cut_short_meanwhile(maildirs, size):
    deliver(maildirs, b"x" * size)
    age(maildirs)
    assert len(look(maildirs.wait, maildirs.store, ALICE)) == 1
    os.truncate(maildirs.files("new")[0], 10)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    with pytest.raises(StorageError):
        octets(maildirs.wait(drop.read(0)))
    drop.release()
    assert look(maildirs.wait, maildirs.store, ALICE) == [b"x" * 10]


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_file_that_grows_meanwhile(maildirs, size):
    deliver(maildirs, b"x" * size)
    age(maildirs)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    with maildirs.files("new")[0].open("ab") as file:
        file.write(b"y")
    with pytest.raises(StorageError):
        octets(maildirs.wait(drop.read(0)))
    drop.release()
    assert look(maildirs.wait, maildirs.store, ALICE) == [b"x" * size + b"y"]


def count_reads(monkeypatch):
    """Count the files that are read from now on."""
    read = []
    real = measure._count
    monkeypatch.setattr(measure, "_count", lambda *arguments: read.append(1) or real(*arguments))
    return read


def test_sizes_of_foreign_files_are_computed_once(maildirs, monkeypatch):
    read = count_reads(monkeypatch)
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


def uids(maildirs):
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    drop.release()
    return [message.uid for message in drop.messages]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        ["X,S=20", "X,S=22"],
        ["X", "X,S=20"],
        ["X,S=20,W=21", "X,S=20,W=22", "X,W=22"],
        ["1700000000.M1P2.host,S=20", "1700000000.M1P2.host,S=20,W=20", "1700000000.M1P2.host"],
        ["y" * 80 + ",S=20", "y" * 80 + ",S=22"],
        ["x" + "0" * 40, "x" + "0" * 40 + ",S=1"],
        ["é,S=20", "é,S=22"],
    ],
    ids=range(7),
)
def test_a_unique_id_never_means_another_message(maildirs, files, restart):
    """RFC 1939 section 7: whatever comes and goes beside it."""
    known = {}
    for name in [*files, *files]:  # each appears beside the one before, which then goes
        before = maildirs.files("cur")
        maildirs.put("cur", f"{name}:2,S", MESSAGE)
        found = uids(maildirs)
        assert len(set(found)) == len(found) == len(before) + 1
        for path in before:
            path.unlink()
        if restart:
            maildirs.reopen()
        (uid,) = uids(maildirs)
        assert uid in found
        assert known.setdefault(name, uid) == uid
    assert len(set(known.values())) == len(files)


@pytest.mark.parametrize("others", list(permutations([",S=23,W=23", "", ",S=24", ",S=25,W=25,x"])), ids=str)
@pytest.mark.parametrize("restart", [False, True])
def test_copies_of_a_file_of_ours_have_unique_ids_of_their_own(maildirs, others, restart):
    """Another program has given them other sizes; the id of the right one is the one it always had."""
    right = f"{OURS},S={len(MESSAGE)},W={len(MESSAGE)}"
    known = {}
    for names in ([right], [right, *others], [right, *others[:2]], [*others[2:], right], [right]):
        for path in maildirs.files("new"):
            path.unlink()
        names = [name if name == right else OURS + name for name in names]
        for name in names:
            maildirs.put("new", name, MESSAGE)
        if restart:
            maildirs.reopen()
        found = dict(zip(sorted(names), uids(maildirs), strict=True))
        assert len(set(found.values())) == len(found)
        assert found[right] == OURS
        assert all(known.setdefault(name, uid) == uid for name, uid in found.items())


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
