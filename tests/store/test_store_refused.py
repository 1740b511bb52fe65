"""Files and directories of a Maildir that the store does not serve."""

import errno
import os

import pytest
from twisted.logger import capturedLogs

from mailserver.errors import StorageError
from mailserver.store import measure
from tests.support.store.messages import (
    ALICE,
    BOB,
    MESSAGE,
    Content,
    age,
    deliver,
    deliver_to,
    look,
    to,
)


def test_what_is_not_a_file_is_ignored_and_logged_once(maildirs, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"not mail")
    maildirs.put("new", "1.ok", MESSAGE)
    new, cur = maildirs.box() / "new", maildirs.box() / "cur"
    (new / "1.link").symlink_to(secret)
    (cur / "1.dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(cur / "1.fifo")
    (new / "1.folder").mkdir()
    with capturedLogs() as events:
        for _ in range(3):
            assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]
    assert {event["path"]: event["reason"] for event in events} == {
        str(new / "1.link"): "a symbolic link",
        str(cur / "1.dangling"): "a symbolic link",
        str(cur / "1.fifo"): "no regular file",
        str(new / "1.folder"): "a folder",
    }
    assert len(events) == 4


DENIED = {
    "cur": ("cur", "1.h:2,S", b"a\n"),
    "new": ("new", "1.h", b"a\n"),
    "wrong sizes": ("cur", "1.h,S=1,W=1:2,", b"a\n"),
    "ours, changed": ("cur", "1700000000.M000001P1Q1R0123456789ab.host,S=3,W=3:2,S", b"a\n"),
}


@pytest.mark.parametrize("case", DENIED)
def test_a_file_that_cannot_be_read_is_served_as_soon_as_it_can(maildirs, monkeypatch, case):
    """chown and chmod change no folder: a listing with such a file is not reused."""
    path = maildirs.put(*DENIED[case])
    maildirs.put("cur", "2.h:2,S", MESSAGE)
    path.chmod(0o000)
    age(maildirs)
    real = measure.open_regular  # type: ignore[attr-defined]

    def denied(name):  # root may read everything
        if name == str(path) and not path.stat().st_mode & 0o400:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return real(name)

    monkeypatch.setattr(measure, "open_regular", denied)
    with capturedLogs() as events:
        for _ in range(3):
            assert look(maildirs.wait, maildirs.store, ALICE) == [MESSAGE]
    (event,) = events
    assert event["path"] == str(path)
    user = os.geteuid()
    assert event["reason"] == (
        f"permission denied: it belongs to user {user} and has mode 0000; the server runs as user {user}"
    )
    path.chmod(0o600)
    assert sorted(look(maildirs.wait, maildirs.store, ALICE)) == sorted([MESSAGE, b"a\r\n"])


def test_a_file_that_becomes_a_link_or_a_fifo_is_not_followed(maildirs, tmp_path):
    deliver(maildirs, MESSAGE, MESSAGE)
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    link, fifo = maildirs.files("new")
    link.unlink()
    link.symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_bytes(MESSAGE)
    fifo.unlink()
    os.mkfifo(fifo)
    for index in (0, 1):
        with pytest.raises(StorageError):
            maildirs.wait(drop.read(index))
    drop.release()


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("folder", ["new", "cur", "tmp"])
@pytest.mark.parametrize("what", ["link", "dangling", "fifo", "owner"])
def test_a_maildir_whose_folders_are_not_its_own_is_refused(maildirs, tmp_path, folder, what, known):
    if what == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a folder away; test_a_mailbox_of_somebody_else is for all")
    if known:
        deliver(maildirs, MESSAGE)
        maildirs.files("new")[0].unlink()
    path = maildirs.put(folder, "file", MESSAGE).parent
    (path / "file").unlink()
    if what == "owner":
        os.chown(path, 1, -1)
    else:
        path.rmdir()
        elsewhere = tmp_path / "elsewhere"
        if what == "link":
            elsewhere.mkdir()
        path.symlink_to(elsewhere) if what != "fifo" else os.mkfifo(path)
    with capturedLogs() as events, pytest.raises(StorageError):
        maildirs.wait(maildirs.store.maildrop(ALICE))
    assert events == []  # the caller logs it, and knows for whom
    if not known or folder != "cur":
        with pytest.raises(StorageError):
            maildirs.wait(deliver_to(maildirs.store, Content(MESSAGE), to(BOB, ALICE)))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    # Refused is not locked for ever.
    with pytest.raises(StorageError):
        maildirs.wait(maildirs.store.maildrop(ALICE))
    deliver(maildirs, MESSAGE, mailbox=BOB)


def test_a_mailbox_of_somebody_else(maildirs, monkeypatch):
    deliver(maildirs, MESSAGE)
    if os.geteuid() == 0:
        os.chown(maildirs.box(), 1, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StorageError, match="belongs to user"):
        maildirs.wait(maildirs.store.maildrop(ALICE))
