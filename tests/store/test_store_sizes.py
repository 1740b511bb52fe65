"""The index of sizes: files of other programs are read once, also across restarts, and never misjudged."""

import os

import pytest
from twisted.logger import capturedLogs

from mailserver.store import measure, sizes
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
    "a row less": lambda data: data[:-32],
    "zeros": lambda data: bytes(len(data)),
    "another version": lambda data: data.replace(b"sizes 1", b"sizes 2", 1),
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
