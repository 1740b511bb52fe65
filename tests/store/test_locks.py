"""The locks of mailboxes: in one process, and among those of one server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.durable.lock import NameLocks
from mailserver.store.locks import MailboxLocks
from tests.support.e2e.server import ROOT

BOX = "example.org/alice"
HOLDER = """
import os, sys
from mailserver.durable.lock import NameLocks
from mailserver.store.locks import MailboxLocks
locks = MailboxLocks(NameLocks(os.open(sys.argv[1], os.O_RDWR)))
for line in sys.stdin:
    word, mailbox = line.split()
    print(getattr(locks, word)(mailbox), flush=True)
"""


class Holder:
    """Another process of the server."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(path)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def do(self, word: str, mailbox: str = BOX) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(word, mailbox, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    path.touch()
    return path


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def holder(path: Path) -> Iterator[Holder]:
    holder = Holder(path)
    yield holder
    holder.kill()


@pytest.mark.parametrize("are_shared", [False, True])
def test_one_session_at_a_time(descriptor: int, are_shared: bool) -> None:
    locks = MailboxLocks(NameLocks(descriptor) if are_shared else None)
    assert locks.acquire(BOX)
    assert not locks.acquire(BOX)
    assert locks.acquire("example.org/bob")
    locks.release(BOX)
    assert locks.acquire(BOX)
    assert not locks.acquire("example.org/bob")


def test_one_session_of_all_processes(descriptor: int, holder: Holder) -> None:
    locks = MailboxLocks(NameLocks(descriptor))
    assert locks.acquire(BOX)
    assert holder.do("acquire") == "False"
    assert holder.do("acquire", "example.org/bob") == "True"
    assert not locks.acquire("example.org/bob")
    locks.release(BOX)
    assert holder.do("acquire") == "True"
    assert not locks.acquire(BOX)
    holder.do("release")
    assert locks.acquire(BOX)


def test_the_lock_of_a_killed_process_is_free(descriptor: int, holder: Holder) -> None:
    locks = MailboxLocks(NameLocks(descriptor))
    assert holder.do("acquire") == "True"
    assert not locks.acquire(BOX)
    holder.kill()
    assert locks.acquire(BOX)


def test_an_error_of_the_system_is_raised() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        NameLocks(-1 & 0x7FFFFFF).acquire(BOX)
