import errno
import os
from pathlib import Path

import pytest

from mailserver.durable import group
from mailserver.durable.disk import Disk
from mailserver.durable.group import GroupSync
from tests.support.faulty_calls import FaultyCalls, open_files


@pytest.fixture(params=["fsync", "syncfs"])
def strategy(request, monkeypatch):
    choose(request.param, monkeypatch)
    return request.param


def choose(strategy, monkeypatch):
    monkeypatch.setattr(group, "_syncfs_answers_for", lambda device: strategy == "syncfs")


@pytest.fixture
def calls() -> FaultyCalls:
    return FaultyCalls()


@pytest.fixture
def writer(calls, strategy, tmp_path):
    before = open_files(tmp_path)
    writer = GroupSync(Disk(calls), tmp_path)
    writer.open()
    calls.made.clear()
    yield writer
    writer.close()
    writer.close()
    assert open_files(tmp_path) == before


def make(tmp_path, names):
    folders = [tmp_path / name for name in names]
    for folder in folders:
        folder.mkdir()
    return folders


def test_no_folder(writer, calls):
    assert writer.sync_dirs([]) == {}
    assert calls.made == []


def test_everything_at_once_or_not_at_all(writer, calls, strategy, tmp_path):
    folders = [*make(tmp_path, "ab"), tmp_path / "gone"]
    assert writer.sync_everything_in(folders) == (strategy == "syncfs")
    assert calls.names == (["syncfs"] if strategy == "syncfs" else [])


def test_a_failure_of_everything_is_raised(calls, monkeypatch, tmp_path):
    choose("syncfs", monkeypatch)
    writer = GroupSync(Disk(calls), tmp_path)
    writer.open()
    calls.fail_all("syncfs", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        writer.sync_everything_in(make(tmp_path, "a"))
    writer.close()


def test_what_is_on_another_file_system_is_not_done_with_the_rest(writer, calls, tmp_path):
    writer._device += 1
    assert not writer.sync_everything_in(make(tmp_path, "a"))
    assert calls.names == []


def test_folders(writer, calls, tmp_path):
    assert writer.sync_dirs(make(tmp_path, "ab")) == {}
    assert calls.names == ["open", "fsync", "close"] * 2


def test_folders_whose_sync_fails(writer, calls, tmp_path):
    folders = [*make(tmp_path, "ab"), tmp_path / "c"]
    assert list(writer.sync_dirs(folders)) == folders[2:]
    calls.fail_all("fsync", errno.EIO)
    failed = writer.sync_dirs(folders[:2])
    assert list(failed) == folders[:2]
    assert {error.errno for error in failed.values()} == {errno.EIO}


@pytest.mark.parametrize(
    ("release", "kind", "expected"),
    [
        ("6.1.0-13-amd64", "ext4", True),
        ("5.17.0", "ext4", True),
        ("5.16.20", "ext4", False),
        ("4.19", "ext4", False),
        ("6.1.0", "ext2", False),
        ("6.1.0", "overlay", False),
        ("6.1.0", "", False),
        ("unknown", "ext4", False),
    ],
)
def test_where_syncfs_is_believed(monkeypatch, release, kind, expected):
    monkeypatch.setattr(group, "HAS_SYNCFS", True)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "x86_64")))
    monkeypatch.setattr(group, "_file_system", lambda device: kind)
    assert group._syncfs_answers_for(0) is expected


def test_the_type_of_a_file_system():
    assert group._file_system(Path("/proc").stat().st_dev) == "proc"
    assert group._file_system(os.makedev(4000, 4000)) == ""
