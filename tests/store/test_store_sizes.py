"""The index of sizes: files of other programs are read once, also across restarts, and never misjudged."""

import os

import pytest
from twisted.logger import capturedLogs

from mailserver.errors import StorageError
from mailserver.store import measure, sizes
from mailserver.store.content import open_regular
from tests.support.store.messages import ALICE, MESSAGE, age, deliver

COUNT = sizes.FEW + 8
TEXT = b"a\nb\r\nc\n"
SIZE = 9


@pytest.fixture
def seen(maildirs, monkeypatch):
    """Open the maildrop after a restart: the sizes, and how many files were read for them."""
    reads = []
    real = measure._count
    monkeypatch.setattr(measure, "_count", lambda *arguments: reads.append(1) or real(*arguments))

    def seen(restart=True):
        if restart:
            maildirs.reopen()
        reads.clear()
        drop = maildirs.wait(maildirs.store.maildrop(ALICE))
        drop.release()
        return [message.size for message in drop.messages], len(reads)

    return seen


def fill(maildirs, count=COUNT, start=0):
    return [maildirs.put("cur", f"{number + 1000}.h:2,S", TEXT) for number in range(start, start + count)]


def index(maildirs):
    maildirs.reopen()  # what is being saved is there then
    return maildirs.box() / sizes.NAME


def test_a_second_start_reads_nothing(maildirs, seen):
    fill(maildirs)
    assert seen() == ([SIZE] * COUNT, COUNT)
    assert seen() == ([SIZE] * COUNT, 0)
    assert seen(restart=False) == ([SIZE] * COUNT, 0)
    assert index(maildirs).stat().st_mode & 0o777 == 0o600
    assert maildirs.files("tmp") == []


def test_what_came_since_is_read_and_added(maildirs, seen):
    fill(maildirs)
    seen()
    fill(maildirs, 3, start=COUNT)
    assert seen(restart=False) == ([SIZE] * (COUNT + 3), 3)
    assert seen()[1] == 3  # too few to be saved
    fill(maildirs, COUNT, start=COUNT + 3)
    assert seen(restart=False)[1] == COUNT
    assert seen() == ([SIZE] * (2 * COUNT + 3), 0)


def test_moved_files_are_known_and_gone_ones_forgotten(maildirs, seen):
    paths = fill(maildirs, 2 * COUNT)
    seen()
    octets = index(maildirs).stat().st_size
    for path in paths[:COUNT]:
        path.unlink()
    for path in paths[COUNT:]:
        path.rename(maildirs.box() / "new" / path.name.replace(":2,S", ":2,FS"))
    assert seen() == ([SIZE] * COUNT, 0)
    fill(maildirs, COUNT)
    assert seen() == ([SIZE] * 2 * COUNT, COUNT)
    assert index(maildirs).stat().st_size <= octets


def other_length(path):
    path.write_bytes(TEXT + b"d")
    return SIZE + 3


def other_time(path):
    path.write_bytes(b"\n" * len(TEXT))
    os.utime(path, (1, 1))
    return 2 * len(TEXT)


def other_file(path):
    status = path.stat()
    path.with_name("x").write_bytes(b"\n" * len(TEXT))
    os.utime(path.with_name("x"), ns=(status.st_atime_ns, status.st_mtime_ns))
    path.with_name("x").rename(path)
    return 2 * len(TEXT)


@pytest.mark.parametrize("change", [other_length, other_time, other_file])
def test_a_row_that_does_not_fit_is_not_believed(maildirs, seen, change):
    path = fill(maildirs)[0]
    seen()
    size = change(path)
    age(maildirs)
    assert seen() == ([size] + [SIZE] * (COUNT - 1), 1)


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "a row less": lambda data: data[:-40],
    "zeros": lambda data: bytes(len(data)),
    "another version": lambda data: data.replace(b"sizes 2", b"sizes 1", 1),
    "a bit": lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(maildirs, seen, damage):
    fill(maildirs)
    seen()
    index(maildirs).write_bytes(DAMAGES[damage](index(maildirs).read_bytes()))
    assert seen() == ([SIZE] * COUNT, COUNT)
    assert seen() == ([SIZE] * COUNT, 0)


@pytest.mark.parametrize("what", ["folder", "fifo", "link"])
def test_what_is_no_index_is_not_read(maildirs, seen, tmp_path, what):
    fill(maildirs)
    seen()
    index(maildirs).rename(tmp_path / "elsewhere")
    {
        "folder": index(maildirs).mkdir,
        "fifo": lambda: os.mkfifo(index(maildirs)),
        "link": lambda: index(maildirs).symlink_to(tmp_path / "elsewhere"),
    }[what]()
    assert seen() == ([SIZE] * COUNT, COUNT)
    maildirs.wait(maildirs.store.close())
    assert maildirs.files("tmp") == []


@pytest.mark.parametrize("call", ["open", "write", "rename"])
def test_an_index_that_cannot_be_written_stops_nobody(maildirs, seen, call):
    fill(maildirs)
    maildirs.reopen()
    maildirs.calls.fail_all(call, 28)
    with capturedLogs() as events:
        assert seen(restart=False) == ([SIZE] * COUNT, COUNT)
        maildirs.wait(maildirs.store.close())
    maildirs.calls.fail_none()
    (event,) = events
    assert event["log_level"].name == "warn"
    assert not index(maildirs).exists()
    assert maildirs.files("tmp") == []


def test_mail_of_ours_and_few_of_others_have_no_index(maildirs, seen):
    deliver(maildirs, *[MESSAGE] * COUNT)
    fill(maildirs, sizes.FEW - 1)
    seen()
    seen()
    assert not index(maildirs).exists()


HEADED = "Subject: ы\n\nx\n".encode()


def test_surrogates_are_measured_once(maildirs, seen):
    """Foreign ones and ours, also across restarts. Mail of ours without UTF-8 in a header is not opened."""
    for number in range(sizes.FEW):
        maildirs.put("cur", f"{number + 1000}.h:2,S", HEADED)
    opened = []

    def look(restart):
        if restart:
            maildirs.reopen()
        opened.clear()
        drop = maildirs.wait(maildirs.store.maildrop(ALICE))
        drop.release()
        return [(message.size, message.surrogate) for message in drop.messages], len(opened)

    foreign = (len(HEADED) + 3, len(HEADED) + 3 - 2 + len("=?utf-8?b?0Ys=?="))
    own = (foreign[0], foreign[1])
    real = open_regular
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "open_regular", lambda path: opened.append(path) or real(path))
        assert look(True) == ([foreign] * sizes.FEW, sizes.FEW)
        deliver(maildirs, HEADED.replace(b"\n", b"\r\n"))
        deliver(maildirs, b"Subject: x\r\n\r\n\xd1\x8b\r\n")
        assert look(False) == ([foreign] * sizes.FEW + [own, (18, None)], 1)
        assert look(False) == ([foreign] * sizes.FEW + [own, (18, None)], 0)
        # One row is not worth saving.
        assert look(True) == ([foreign] * sizes.FEW + [own, (18, None)], 1)


def test_the_size_of_a_surrogate_of_a_file_whose_sizes_are_believed(maildirs):
    """Other programs name W and S, too."""
    text = HEADED.replace(b"\n", b"\r\n")
    maildirs.put("cur", f"1000.h,S={len(text)},W={len(text)}:2,S", text)
    maildirs.put("cur", f"1001.h,S={len(MESSAGE)},W={len(MESSAGE)}:2,S", MESSAGE)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert [message.surrogate is None for message in drop.messages] == [False, True]
    drop.release()


def test_a_file_that_another_program_changes_gets_another_surrogate(maildirs):
    path = maildirs.put("cur", "1000.h:2,S", HEADED)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert drop.messages[0].surrogate is not None
    path.write_bytes(HEADED.replace("ы".encode(), b"plain"))
    with pytest.raises(StorageError):
        maildirs.wait(drop.read(0))
    drop.release()
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert drop.messages[0].surrogate is None
    drop.release()
