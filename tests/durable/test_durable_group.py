import errno
import os
from pathlib import Path

import pytest

from mailserver.durable import group
from mailserver.durable.disk import Disk
from mailserver.durable.group import GroupWriter, NewFile
from tests.durable.faults import FaultyCalls, open_descriptors


class Text:
    def __init__(self, data):
        self.data = data

    def chunks(self):
        yield self.data


class Broken:
    def chunks(self):
        yield b"some"
        raise LookupError("no more")


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
    before = open_descriptors()
    writer = GroupWriter(Disk(calls), tmp_path)
    calls.made.clear()
    yield writer
    writer.close()
    writer.close()
    assert open_descriptors() == before


def some_files(tmp_path, count=3):
    return [NewFile(tmp_path / str(number), Text(b"%d" % number)) for number in range(count)]


def test_one_file_gets_its_own_fsync(writer, calls, tmp_path):
    assert writer.write_files(some_files(tmp_path, 1)) == [None]
    assert calls.names == ["open", "write", "fsync", "close"]


def test_no_file_and_no_folder(writer, calls):
    assert writer.write_files([]) == []
    assert writer.sync_dirs([]) == {}
    assert calls.made == []


def test_several_files(writer, calls, strategy, tmp_path):
    assert writer.write_files(some_files(tmp_path)) == [None] * 3
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "0": b"0",
        "1": b"1",
        "2": b"2",
    }
    if strategy == "syncfs":
        assert calls.names[-1] == "syncfs"
        assert "fsync" not in calls.names
    else:
        assert calls.names.count("fsync") == 3


def test_a_file_that_fails_fails_alone(writer, tmp_path):
    files = some_files(tmp_path)
    files[1] = NewFile(tmp_path / "1", Broken())
    files.append(NewFile(tmp_path / "none/3", Text(b"3")))
    outcomes = writer.write_files(files)
    assert [type(outcome) for outcome in outcomes] == [type(None), LookupError, type(None), FileNotFoundError]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2"]


def test_after_a_failed_syncfs_each_file_is_written_anew(calls, monkeypatch, tmp_path):
    choose("syncfs", monkeypatch)
    writer = GroupWriter(Disk(calls), tmp_path)
    calls.fail_all("syncfs", errno.EIO)
    assert writer.write_files(some_files(tmp_path)) == [None] * 3
    after = calls.made[calls.names.index("syncfs") + 1 :]
    once = ["unlink", "open", "write", "fsync", "close"]
    assert [name for name, _ in after] == once * 3
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"0", b"1", b"2"]
    writer.close()


def test_a_file_whose_sync_fails_is_told_and_gone(writer, calls, strategy, tmp_path):
    syncs = []

    def fails(number, name):
        if name == "fsync":
            syncs.append(number)
        return name == "syncfs" or (name == "fsync" and len(syncs) == 2)

    calls.fails = fails
    calls.error = errno.ENOSPC
    outcomes = writer.write_files(some_files(tmp_path))
    assert outcomes[0] is None and outcomes[2] is None
    assert isinstance(outcomes[1], OSError) and outcomes[1].errno == errno.ENOSPC
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2"]


def test_folders(writer, calls, strategy, tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    assert writer.sync_dirs(folders) == {}
    assert calls.names == (["syncfs"] if strategy == "syncfs" else ["open", "fsync", "close"] * 2)
    calls.made.clear()
    assert writer.sync_dirs(folders[:1]) == {}
    assert calls.names == ["open", "fsync", "close"]


def test_folders_whose_sync_fails(writer, calls, strategy, tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders[:2]:
        folder.mkdir()
    assert list(writer.sync_dirs(folders)) == folders[2:]
    calls.error = errno.EIO
    calls.fails = lambda number, name: name in ("syncfs", "fsync")
    failed = writer.sync_dirs(folders[:2])
    assert list(failed) == folders[:2]
    assert {error.errno for error in failed.values()} == {errno.EIO}


def test_files_on_another_file_system_are_synced_by_themselves(writer, calls, tmp_path):
    writer._device += 1
    assert writer.write_files(some_files(tmp_path)) == [None] * 3
    assert calls.names.count("fsync") == 3
    assert "syncfs" not in calls.names


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
