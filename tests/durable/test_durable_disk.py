import errno
import os
import stat
from pathlib import Path

import pytest

from mailserver.durable.disk import Disk
from tests.support.faulty_calls import FaultyCalls, open_files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def calls() -> FaultyCalls:
    return FaultyCalls()


@pytest.fixture
def disk(calls) -> Disk:
    return Disk(calls)


def test_modes_do_not_depend_on_the_umask(umask, tmp_path):
    disk = Disk()
    disk.make_dirs(tmp_path / "a/b")
    disk.write_file(tmp_path / "a/b/file", [b"x"])
    disk.replace(tmp_path / "a/b/ready", b"y")
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/file", "a/b/ready")] == [
        0o700,
        0o700,
        0o600,
        0o600,
    ]


def test_new_folders_are_synced_into_their_parents(disk, calls, tmp_path):
    disk.make_dirs(tmp_path / "a/b/c", tmp_path / "a/b/d")
    assert [path for name, path in calls.made if name == "mkdir"] == [
        tmp_path / "a",
        tmp_path / "a/b",
        tmp_path / "a/b/c",
        tmp_path / "a/b/d",
    ]
    assert [path for name, path in calls.made if name == "open"] == [
        tmp_path,
        tmp_path / "a",
        tmp_path / "a/b",
    ]
    assert calls.names.count("fsync") == 3


def test_folders_that_exist_are_left_alone(disk, calls, tmp_path):
    disk.make_dirs(tmp_path)
    assert calls.made == []


def test_folders_below_a_safe_one_are_synced_even_if_they_exist(disk, calls, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    disk.make_dirs(tmp_path / "a/b", tmp_path, below=tmp_path)
    assert [path for name, path in calls.made if name == "open"] == [tmp_path, tmp_path / "a"]
    assert calls.names.count("fsync") == 2


def test_a_file_in_the_way_of_a_folder(disk, tmp_path):
    (tmp_path / "a").write_text("")
    for below in (tmp_path, None):
        with pytest.raises(FileExistsError):
            disk.make_dirs(tmp_path / "a", below=below)
    with pytest.raises(OSError):
        disk.make_dirs(tmp_path / "a/b")


def test_a_file_is_whole_and_synced_before_it_is_closed(disk, calls, tmp_path):
    disk.write_file(tmp_path / "f", iter([b"one", b"", b"two" * 100_000]))
    assert (tmp_path / "f").read_bytes() == b"one" + b"two" * 100_000
    assert calls.names == ["open", "write", "write", "fsync", "close"]


def test_short_writes_are_continued(disk, calls, tmp_path, monkeypatch):
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:3]))
    disk.write_file(tmp_path / "f", [b"abcdefgh"])
    assert (tmp_path / "f").read_bytes() == b"abcdefgh"
    assert calls.names.count("write") == 3


@pytest.mark.parametrize("what", ["file", "symlink", "dangling symlink"])
def test_a_name_that_is_taken_is_never_written_to(disk, tmp_path, what):
    (tmp_path / "target").write_bytes(b"kept")
    if what == "file":
        (tmp_path / "f").write_bytes(b"kept")
    else:
        (tmp_path / "f").symlink_to(tmp_path / ("target" if what == "symlink" else "nothing"))
    with pytest.raises(FileExistsError):
        disk.write_file(tmp_path / "f", [b"new"])
    assert (tmp_path / "f").is_symlink() or (tmp_path / "f").read_bytes() == b"kept"
    assert (tmp_path / "target").read_bytes() == b"kept"
    assert not (tmp_path / "nothing").exists()


def broken_content():
    yield b"some"
    raise LookupError("no more")


def test_content_that_fails_leaves_no_file(disk, calls, tmp_path):
    with pytest.raises(LookupError):
        disk.write_file(tmp_path / "f", broken_content())
    assert list(tmp_path.iterdir()) == []
    assert calls.names[-2:] == ["close", "unlink"]


WORK = {
    "write_file": lambda disk, folder: disk.write_file(folder / "f", [b"x"]),
    "replace": lambda disk, folder: disk.replace(folder / "f", b"x"),
    "sync_dir": lambda disk, folder: disk.sync_dir(folder),
    "make_dirs": lambda disk, folder: disk.make_dirs(folder / "a"),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_each_call_may_fail(disk, calls, tmp_path, work, error):
    """It is told as it was, no descriptor stays open, and no temporary file."""
    number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        descriptors = open_files(tmp_path)
        calls.fail_at(number, error)
        try:
            work(disk, folder)
        except OSError as caught:
            assert caught.errno == error
        else:
            break
        assert open_files(tmp_path) == descriptors
        left = {path.name for path in folder.iterdir()}
        # A replacement in place when the last sync fails is no temporary file; nor is a new folder.
        assert left <= ({"a"} if calls.names[0] == "mkdir" else {"f"} if "rename" in calls.names else set())
    assert number > 3


def test_the_first_failure_is_the_one_told(disk, calls, tmp_path):
    calls.error = errno.EIO
    calls.fails = lambda number, name: name in ("fsync", "unlink")
    with pytest.raises(OSError) as caught:
        disk.write_file(tmp_path / "f", [b"x"])
    assert caught.value.errno == errno.EIO
    assert calls.names[-3:] == ["fsync", "close", "unlink"]


def test_replace_shows_the_old_content_or_the_new(disk, calls, tmp_path):
    disk.replace(tmp_path / "f", b"old")
    calls.fail_all("rename", errno.EIO)
    with pytest.raises(OSError):
        disk.replace(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    calls.fail_none()
    disk.replace(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert calls.names == ["open", "write", "fsync", "close", "rename", "open", "fsync", "close"]
