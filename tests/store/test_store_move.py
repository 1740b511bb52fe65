"""The move of a Maildir: complete after any interruption, and nothing is lost."""

import errno
from pathlib import Path

import pytest

from mailserver.durable.disk import Disk
from mailserver.errors import StorageRefused
from mailserver.store.move import check_move, move_maildir
from tests.support.faulty_calls import FaultyCalls
from tests.support.migration.boxes import contents, write_maildir

OLD = {"new/1.a": b"one", "cur/2.b:2,S": b"two"}
NEW = {"new/3.c": b"three"}


def boxes(root: Path, *, there: bool) -> tuple[Path, Path]:
    old = write_maildir(root / "example.org/alice", OLD)
    write_maildir(old / ".Sent", {"cur/4.d:2,S": b"four"})
    (old / "dovecot-uidlist").write_text("old")
    new = root / "example.com/ann"
    if there:
        write_maildir(new, NEW)
        write_maildir(new / ".Sent", {"cur/5.e:2,S": b"five"})
        (new / "dovecot-uidlist").write_text("new")
    return old, new


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("number", range(1, 40))
def test_after_a_failure_of_any_call_another_run_completes_it(
    tmp_path: Path, number: int, there: bool
) -> None:
    old, new = boxes(tmp_path, there=there)
    calls = FaultyCalls()
    calls.fail_at(number, errno.EIO)
    try:
        move_maildir(tmp_path, "example.org/alice", "example.com/ann", Disk(calls))
    except OSError:
        assert calls.made
    else:
        assert len(calls.made) < number or calls.names[number - 1] == "close"
    move_maildir(tmp_path, "example.org/alice", "example.com/ann", Disk())
    assert contents(new) == OLD | (NEW if there else {})
    sent = {"cur/4.d:2,S": b"four"} | ({"cur/5.e:2,S": b"five"} if there else {})
    assert contents(new / ".Sent") == sent
    assert (new / "dovecot-uidlist").read_text() == ("new" if there else "old")
    assert not old.exists()


def test_a_file_in_both_places(tmp_path: Path) -> None:
    old, new = boxes(tmp_path, there=True)
    write_maildir(new, {"new/1.a": b"one"})
    (old / "notes").write_text("x")
    (new / "notes").write_text("y")
    with pytest.raises(StorageRefused, match="notes exist"):
        move_maildir(tmp_path, "example.org/alice", "example.com/ann", Disk())
    (new / "notes").unlink()
    write_maildir(old, {"new/3.c": b"other"})
    with pytest.raises(StorageRefused, match="differ"):
        move_maildir(tmp_path, "example.org/alice", "example.com/ann", Disk())
    assert contents(old)["new/3.c"] == b"other"
    assert contents(new)["new/3.c"] == b"three"


def test_where_a_mailbox_can_move(tmp_path: Path) -> None:
    boxes(tmp_path, there=False)
    check_move(tmp_path, "example.org/alice", "example.com/ann")
    check_move(tmp_path, "example.org/nobody", "example.com/ann")
    write_maildir(tmp_path / "example.com/ann", NEW)
    with pytest.raises(StorageRefused, match="has messages already"):
        check_move(tmp_path, "example.org/alice", "example.com/ann")
