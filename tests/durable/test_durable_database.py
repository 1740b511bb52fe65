"""The database, the folder for what is damaged, and the reserve of the disk."""

import errno
import os
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from mailserver.durable import database, room
from mailserver.durable.calls import SystemCalls
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.database import Damaged, Database, read_only
from mailserver.durable.disk import Disk
from mailserver.durable.room import require_room
from tests.support.faulty_calls import FaultyCalls, open_files

SCHEMA = ("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, v BLOB)",)


def insert(*numbers):
    return [("INSERT INTO t VALUES (?, ?)", (number, bytes(100))) for number in numbers]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.db"


@pytest.fixture
def opened(path):
    opened = Database(path, SystemCalls())
    opened.open(SCHEMA)
    yield opened
    opened.close()


def numbers(opened):
    return [number for (number,) in opened.rows("SELECT n FROM t ORDER BY n")]


def seen(path):
    """What another process would see now."""
    return [number for (number,) in read_only(path, "SELECT n FROM t ORDER BY n")]


def test_it_survives_power_loss(opened, path):
    """WAL with a sync for each commit; nobody else may read it, nor the files beside it."""
    assert opened.rows("PRAGMA journal_mode") == [("wal",)]
    assert opened.rows("PRAGMA synchronous") == [(2,)]
    opened.commit(insert(1))
    assert seen(path) == [1]
    files = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert files == dict.fromkeys(["queue.db", "queue.db-wal", "queue.db-shm", "made-queue.db"], 0o600)


def test_it_is_there_again(opened, path):
    opened.commit(insert(1, 2))
    opened.close()
    opened.close()
    again = Database(path, SystemCalls())
    again.open(SCHEMA)
    assert numbers(again) == [1, 2]
    again.close()


@pytest.mark.parametrize(
    "wrong", [insert(1), [("INSERT INTO nothing VALUES (1)", ())], [("no SQL", ())], [("SELECT ?", ())]]
)
def test_all_or_nothing(opened, path, wrong):
    opened.commit(insert(1))
    with pytest.raises(OSError):
        opened.commit([*insert(2), *wrong, *insert(3)])
    assert (numbers(opened), seen(path)) == ([1], [1])
    opened.commit(insert(2, 3))
    assert seen(path) == [1, 2, 3]


def test_a_commit_that_fails_leaves_nothing(path):
    calls = FaultyCalls()
    opened = Database(path, calls)
    opened.open(SCHEMA)
    calls.fail_all("commit", errno.EIO)
    with pytest.raises(OSError) as caught:
        opened.commit(insert(1))
    assert caught.value.errno == errno.EIO
    calls.fail_none()
    opened.commit(insert(2))
    assert seen(path) == [2]
    opened.close()


class Pausing(SystemCalls):
    """Stops in the middle of a commit until somebody has tried to read, and a moment longer."""

    def __init__(self):
        self.inside, self.tried = threading.Event(), threading.Event()

    def commit(self, connection, statements):
        first, *rest = statements
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(*first)
        if rest:
            self.inside.set()
            assert self.tried.wait(30)
            time.sleep(0.05)
        for statement in rest:
            connection.execute(*statement)
        connection.execute("COMMIT")


def test_who_reads_sees_whole_transactions(path):
    calls = Pausing()
    opened = Database(path, calls)
    opened.open(SCHEMA)
    found = []

    def read():
        assert calls.inside.wait(30)
        calls.tried.set()
        found.append(numbers(opened))

    reader = threading.Thread(target=read)
    reader.start()
    opened.commit(insert(1, 2))
    reader.join()
    assert found == [[1, 2]]
    opened.close()


def pragma(statement):
    def make(opened, path):
        opened.rows(statement)

    return make


def lock(opened, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    opened.other = other


class Open(Database):
    __slots__ = ("other",)


@pytest.mark.parametrize(
    ("break_it", "number"),
    [
        (pragma("PRAGMA max_page_count = 3"), errno.ENOSPC),
        (pragma("PRAGMA query_only = ON"), errno.EROFS),
        (lock, errno.EAGAIN),
    ],
)
def test_errors_have_the_number_that_fits(path, monkeypatch, break_it, number):
    monkeypatch.setattr(database, "BUSY", 0.01)
    opened = Open(path, SystemCalls())
    opened.open(SCHEMA)
    break_it(opened, path)
    with pytest.raises(OSError) as caught:
        opened.commit(insert(*range(1000)))
    assert caught.value.errno == number
    assert caught.value.filename == str(path)
    assert not isinstance(caught.value, Damaged)
    if break_it is lock:
        opened.other.close()  # type: ignore[attr-defined]
    assert numbers(opened) == []
    opened.close()


@pytest.mark.parametrize("use", [lambda one: one.commit(insert(1)), numbers])
def test_not_open(path, use):
    with pytest.raises(OSError) as caught:
        use(Database(path, SystemCalls()))
    assert caught.value.errno == errno.EBADF


def test_no_database(path):
    path.write_bytes(b"something else entirely\n" * 100)
    before = open_files(path.parent)
    with pytest.raises(Damaged):
        Database(path, SystemCalls()).open(SCHEMA)
    assert open_files(path.parent) == before
    assert path.read_bytes().startswith(b"something else")


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b""), Path.unlink])
def test_what_was_made_is_not_made_again(path, spoil):
    opened = Database(path, SystemCalls())
    opened.open(SCHEMA)
    opened.close()
    spoil(path)
    before = open_files(path.parent)
    with pytest.raises(Damaged):
        Database(path, SystemCalls()).open(SCHEMA)
    assert open_files(path.parent) == before
    assert not path.exists() or path.read_bytes() == b""


def test_the_marker_comes_last(path):
    """A crash before it leaves no marker without its database."""
    calls = FaultyCalls()
    opened = Database(path, calls)
    opened.open(SCHEMA)
    opened.close()
    names = [name for name, _ in calls.made]
    assert names.index("commit") < names.index("fsync") < names.index("write") < names.index("rename")
    assert names[-2:] == ["fsync", "close"]


@pytest.mark.parametrize("kind", ["a link", "a folder", "no folder above"])
def test_what_cannot_be_opened_is_not_damaged(path, tmp_path, kind):
    if kind == "a link":
        (tmp_path / "elsewhere").write_bytes(b"")
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "a folder":
        path.mkdir()
    else:
        path = tmp_path / "missing" / "queue.db"
    with pytest.raises(OSError) as caught:
        Database(path, SystemCalls()).open(SCHEMA)
    assert not isinstance(caught.value, Damaged)


def test_octets_that_are_no_text_can_be_read(opened):
    opened.commit([("INSERT INTO t VALUES (1, CAST(x'ff41' AS TEXT))", ())])
    assert opened.rows("SELECT v FROM t") == [("\udcffA",)]


def test_read_only(opened, path):
    assert read_only(path.with_name("none.db"), "SELECT 1") == []
    opened.commit(insert(1, 2))
    assert read_only(path, "SELECT n FROM t WHERE n > ?", (1,)) == [(2,)]
    with pytest.raises(OSError):
        read_only(path, "DELETE FROM t")
    assert numbers(opened) == [1, 2]


@pytest.mark.parametrize("name", ["queue.db", "a?b#c %41.db"])
@pytest.mark.parametrize("ended", ["not", "closed", "killed", "killed, without its index"])
def test_read_only_of_a_server_that_runs_or_not(tmp_path, name, ended):
    """Whatever its end was, what it has committed can be read, and reading changes nothing of it."""
    path = tmp_path / "data" / name
    path.parent.mkdir()
    opened = Database(path, SystemCalls())
    opened.open(SCHEMA)
    opened.commit(insert(5))
    if ended.startswith("killed"):
        shutil.copytree(path.parent, tmp_path / "copy")
        path = tmp_path / "copy" / name
        if "without" in ended:
            path.with_name(f"{name}-shm").unlink()
    if ended != "not":
        opened.close()
    before = path.read_bytes()
    files = {each.name for each in path.parent.iterdir()}
    assert seen(path) == seen(path) == [5]
    assert path.read_bytes() == before
    if ended == "closed":
        assert {each.name for each in path.parent.iterdir()} == files
    again = Database(path, SystemCalls())
    again.open(SCHEMA)
    assert numbers(again) == [5]
    again.close()
    opened.close()


def test_read_only_of_no_database(path):
    path.write_bytes(b"something else entirely\n" * 100)
    with pytest.raises(Damaged):
        read_only(path, "SELECT 1 FROM t")


# ---------------------------------------------------------------- what is damaged


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "damaged"


def test_it_is_kept_with_its_reason(folder, tmp_path):
    damaged = DamagedFolder(folder, Disk())
    assert not folder.exists()
    source = tmp_path / "file"
    source.write_bytes(b"octets")
    inode = source.stat().st_ino
    moved = damaged.move(source, "mail/x", "torn: grün \udcff")
    kept = damaged.keep([b"row"], "row.eml", "no checksum")
    assert not source.exists()
    assert (moved.read_bytes(), moved.stat().st_ino, kept.read_bytes()) == (b"octets", inode, b"row")
    for path, word in ((moved, b"torn"), (kept, b"no checksum")):
        assert path.parent == folder
        assert word in path.with_name(f"{path.name}.reason").read_bytes()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir() if path != moved} == {0o600}


def test_nothing_takes_the_place_of_another(folder):
    damaged = DamagedFolder(folder, Disk())
    kept = [damaged.keep([b"%d" % number], "same", "why") for number in range(20)]
    assert [path.read_bytes() for path in kept] == [b"%d" % number for number in range(20)]


@pytest.mark.parametrize(
    "name", ["../../up", "/etc/passwd", "a/b", "x" * 300, ".", "..", "", "ü" * 200, "a\0b", "a\nb"]
)
def test_names(folder, name):
    path = DamagedFolder(folder, Disk()).keep([b"octets"], name, "why")
    assert path.resolve().parent == folder.resolve()
    assert path.read_bytes() == b"octets"


def test_both_folders_are_synced(folder, tmp_path):
    calls = FaultyCalls()
    source = tmp_path / "from" / "file"
    source.parent.mkdir()
    source.write_bytes(b"octets")
    DamagedFolder(folder, Disk(calls)).move(source, "file", "why")
    after = calls.made[calls.names.index("rename") :]
    assert [Path(path) for name, path in after if name == "open"] == [source.parent, folder]
    assert [name for name, _ in after].count("fsync") == 2


def test_what_cannot_be_moved_stays(folder, tmp_path):
    calls = FaultyCalls()
    calls.fail_all("rename", errno.EIO)
    source = tmp_path / "file"
    source.write_bytes(b"octets")
    with pytest.raises(OSError):
        DamagedFolder(folder, Disk(calls)).move(source, "file", "why")
    assert source.read_bytes() == b"octets"


# ---------------------------------------------------------------- the reserve


@pytest.mark.parametrize("full", [False, True])
def test_reserve(tmp_path, full):
    status = os.statvfs(tmp_path)
    others = 10 * 1024**3  # octets that others may write or remove meanwhile
    reserve = status.f_bavail * status.f_frsize + (others if full else -others)
    assert (room.room(tmp_path, reserve) < 0) == full
    if full:
        with pytest.raises(OSError) as caught:
            require_room(tmp_path, reserve)
        assert caught.value.errno == errno.ENOSPC
    else:
        require_room(tmp_path, reserve)


def test_without_a_reserve_nobody_asks(tmp_path):
    require_room(tmp_path / "missing", 0)
    with pytest.raises(FileNotFoundError):
        require_room(tmp_path / "missing", 1)
