"""Temporary files that the spool relies on: no sweep takes them, however old they are."""

import errno
import os

import pytest

from tests.support.queue.crashed import SIZES, crash, is_missing
from tests.support.queue.runners import member
from tests.support.store.messages import ALICE, BOB, MESSAGE, OLD

LARGE = b"Subject: large\r\n\r\n" + b"x" * SIZES["large"] + b"\r\n"


def a_weekend_later(spools):
    """A crash before anything was published, and a start when the temporary files are stale."""
    crash(spools)
    for path in spools.files("new"):
        is_missing(path)
    for path in spools.files("tmp"):
        os.utime(path, (OLD - 36 * 3600, OLD - 36 * 3600))


def test_what_the_start_could_not_write(spools):
    spools.wait(spools.deliver(LARGE, ALICE))
    a_weekend_later(spools)
    spools.calls.fail_all("write", errno.ENOSPC)
    spools.open()
    spools.calls.fail_none()
    spools.wait(spools.deliver(MESSAGE, ALICE))  # before the checkpoint tries again
    spools.checkpoint()
    assert len(spools.look(ALICE)) == 2
    assert (spools.rows(), spools.files("tmp")) == ([], [])


@pytest.mark.parametrize("refused", ["alice", "bob"])
def test_another_text_of_the_message_could_not_be_written(spools, tmp_path, refused):
    spools.wait(spools.deliver(LARGE, ALICE, member(BOB)))
    a_weekend_later(spools)
    cur = spools.root / "mail/example.org" / refused / "cur"
    cur.rmdir()
    cur.symlink_to(tmp_path)
    spools.open()
    spools.wait(spools.deliver(MESSAGE, BOB if refused == "alice" else ALICE))
    cur.unlink()
    spools.checkpoint()
    assert sorted(len(spools.look(mailbox)) for mailbox in (ALICE, BOB)) == [1, 2]
    assert (spools.rows(), spools.files("tmp")) == ([], [])
