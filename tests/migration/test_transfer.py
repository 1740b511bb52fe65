"""Transfers from one Maildir to another: complete, repeatable, and verified."""

import errno
import os
from pathlib import Path

import pytest

from mailserver.errors import StorageError
from mailserver.migration.maildir import MaildirSource, folders_of
from mailserver.store.names import kept_uid
from tests.support.faulty_calls import FaultyCalls, open_files
from tests.support.migration.boxes import contents, transferred, write_maildir

FILES = {
    "new/1700000000.M1P1.host": b"Subject: one\n\nLF\n",
    "cur/1700000001.M2P1.host,S=22,W=22:2,FS": b"Subject: two\r\n\r\nCRLF\r\n",
    "cur/1700000002.M3P1.host:2,": b"",
}
WHEN = 1_600_000_000.0


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write_maildir(tmp_path / "old", FILES)


def test_octets_names_flags_and_times_stay(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    done = transferred(MaildirSource(old), new)
    assert done.summary("imported") == "imported 3 messages (39 octets), skipped 0, verified"
    assert contents(new) == contents(old) == FILES
    for name in FILES:
        status = (new / name).stat()
        assert (status.st_mtime, status.st_mode & 0o777) == (WHEN, 0o600)


def test_again_skips_what_is_there_and_adds_the_rest(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    transferred(MaildirSource(old), new)
    (new / "new/1700000000.M1P1.host").rename(new / "cur/1700000000.M1P1.host:2,S")  # read here
    write_maildir(old, {"new/1700000009.M9P1.host": b"later\n"})
    done = transferred(MaildirSource(old), new)
    assert done.summary("imported") == "imported 1 message (6 octets), skipped 3, verified"
    assert len(contents(new)) == 4


def test_other_octets_under_the_same_name_are_a_problem(old: Path, tmp_path: Path) -> None:
    new = write_maildir(tmp_path / "new", {"cur/1700000000.M1P1.host:2,S": b"other\n"})
    done = transferred(MaildirSource(old), new)
    [problem] = done.problems
    assert problem.startswith(f"{old}/new/1700000000.M1P1.host: ")
    assert contents(new)["cur/1700000000.M1P1.host:2,S"] == b"other\n"
    assert done.copied == 2


@pytest.mark.parametrize("number", range(1, 30))
def test_after_a_failure_of_any_call_another_run_completes_it(old: Path, tmp_path: Path, number: int) -> None:
    new, calls = tmp_path / "new", FaultyCalls()
    calls.fail_at(number, errno.EIO)
    try:
        failed = transferred(MaildirSource(old), new, calls).problems != []
    except StorageError:
        failed = True
    assert failed or len(calls.made) < number
    for name, content in contents(new).items():
        assert name.startswith("tmp/") or FILES[name] == content
    again = transferred(MaildirSource(old), new)
    assert (again.problems, again.copied + again.skipped) == ([], 3)
    assert contents(new) == FILES


def test_a_failure_at_the_start_leaves_no_lock(old: Path, tmp_path: Path) -> None:
    new, calls = tmp_path / "new", FaultyCalls()
    write_maildir(new, {"tmp/1.0.intake": b"left by a crash\n"})
    calls.fail_all("unlink", errno.EIO)
    with pytest.raises(StorageError, match="error"):
        transferred(MaildirSource(old), new, calls)
    assert open_files(new) == []
    assert transferred(MaildirSource(old), new).copied == 3


def test_what_is_no_message_is_named_and_not_followed(old: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of root\n")
    (old / "cur/link:2,S").symlink_to(tmp_path / "secret")
    os.mkfifo(old / "new/fifo")
    (old / "new/folder").mkdir()
    done = transferred(MaildirSource(old), tmp_path / "new")
    assert [problem.rpartition(": ")[2] for problem in sorted(done.problems)] == [
        "a symbolic link, not a message",
        "no regular file, not a message",
        "a folder, not a message",
    ]
    assert contents(tmp_path / "new") == FILES
    assert done.summary("imported").endswith("3 not imported")


@pytest.mark.parametrize("make", ["empty", "linked"])
def test_what_is_no_maildir(tmp_path: Path, make: str) -> None:
    (tmp_path / "there/cur").mkdir(parents=True)
    (tmp_path / "it").mkdir()
    if make == "linked":
        (tmp_path / "it/cur").symlink_to(tmp_path / "there/cur")
    with pytest.raises(StorageError):
        MaildirSource(tmp_path / "it")


def test_a_message_that_is_moved_or_removed_meanwhile(old: Path, tmp_path: Path) -> None:
    class Changing(MaildirSource):
        def messages(self):
            found = list(super().messages())
            (old / "new/1700000000.M1P1.host").rename(old / "cur/1700000000.M1P1.host:2,S")
            (old / "cur/1700000002.M3P1.host:2,").unlink()
            return iter(found)

    done = transferred(Changing(old), tmp_path / "new")
    assert (done.copied, done.vanished, done.problems) == (2, 1, [])


def test_two_at_a_time_are_refused(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    inner: list[str] = []

    class Meanwhile(FaultyCalls):
        def write(self, descriptor: int, data: bytes | memoryview) -> int:
            with pytest.raises(StorageError) as refused:
                transferred(MaildirSource(old), new)
            inner.append(str(refused.value))
            return super().write(descriptor, data)

    transferred(MaildirSource(old), new, Meanwhile())
    assert inner[0] == f"another command puts messages into {new}"


def test_unique_ids_are_kept_where_that_is_possible(old: Path, tmp_path: Path) -> None:
    uids = {
        "1700000000.M1P1.host": "000000015f3a",
        "1700000001.M2P1.host,S=22,W=22": "a/b:c%,=~",
        "1700000002.M3P1.host": "000000015f3a",  # another message has it
    }
    done = transferred(MaildirSource(old, uids), tmp_path / "new")
    assert (done.kept, done.without) == (2, 1)
    names = [name.partition("/")[2].partition(":")[0] for name in contents(tmp_path / "new")]
    assert sorted(map(str, map(kept_uid, names))) == ["000000015f3a", "None", "a/b:c%,=~"]
    again = transferred(MaildirSource(old, uids), tmp_path / "new")
    assert again.summary("imported") == "imported 0 messages (0 octets), skipped 3, verified"


def test_folders(old: Path) -> None:
    write_maildir(old / ".Sent", {"cur/1:2,S": b"x"})
    (old / ".cache").mkdir()
    (old / "other/cur").mkdir(parents=True)
    assert folders_of(old) == {"Sent": old / ".Sent"}
    assert folders_of(old / "nothing") == {}
