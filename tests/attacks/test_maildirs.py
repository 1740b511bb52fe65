"""What another program, or another user of the machine, can put into a Maildir or do to it meanwhile.

Links and FIFOs that would give away or block (a FIFO opened for reading waits for ever), bare newlines that
would end a message early on the wire, and files that vanish or cannot be removed during a session.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import WORKERS, wait_until

MESSAGE = b"Subject: %d\r\n\r\nbody\r\n"
SECRET = b"nobody may read this by mail"
# What is no end of a message, and may be taken for one.
ENDS = {
    "LF . LF": b"\n.\n",
    "LF . CRLF": b"\n.\r\n",
    "CRLF . LF": b"\r\n.\n",
    "CR . CR": b"\r.\r",
    "CRLF . CR": b"\r\n.\r",
    "CR . CRLF": b"\r.\r\n",
    "CR . LF": b"\r.\n",
    "LF . CR": b"\n.\r",
    "CRLF NUL . CRLF": b"\r\n\0.\r\n",
    "CRLF . NUL CRLF": b"\r\n.\0\r\n",
    "CRLF . CR CRLF": b"\r\n.\r\r\n",
    "CR CRLF . CR CRLF": b"\r\r\n.\r\r\n",
    "CRLF . SP CRLF": b"\r\n. \r\n",
}


def folder(box: Mailbox) -> Path:
    """The mailbox's Maildir, with one message in it."""
    box.fill(MESSAGE % 0)
    return box.server.data / "mail" / "example.org" / box.name


def test_links_and_fifos_among_the_messages(mailbox: Mailbox, tmp_path: Path) -> None:
    """They are no messages, and are logged by their names; nothing hangs."""
    maildir = folder(mailbox)
    (tmp_path / "secret").write_bytes(SECRET)
    for where in ("new", "cur"):
        (maildir / where / "1.link.host").symlink_to(tmp_path / "secret")
        (maildir / where / "2.dangling.host").symlink_to(tmp_path / "nothing")
        (maildir / where / "3.loop.host").symlink_to("3.loop.host")
        os.mkfifo(maildir / where / "4.fifo.host:2,")
        (maildir / where / "5.folder.host").mkdir()
    [only] = mailbox.messages()
    assert only.endswith(MESSAGE % 0)
    mailbox.fill(MESSAGE % 1)
    assert len(mailbox.messages()) == 2
    for name in ("1.link.host", "2.dangling.host", "3.loop.host", "4.fifo.host:2,", "5.folder.host"):
        for where in ("new", "cur"):
            lines = mailbox.server.logged(f"{mailbox.name}/{where}/{name}")
            assert len(lines) <= WORKERS, (name, lines)


@pytest.mark.parametrize("what", ["link", "fifo", "file"])
@pytest.mark.parametrize("where", ["new", "cur", "tmp"])
def test_a_folder_that_is_none(mailbox: Mailbox, tmp_path: Path, where: str, what: str) -> None:
    """Mail is neither put where a link leads nor read from there: senders try again, readers call for
    help."""
    maildir = folder(mailbox)
    shutil.rmtree(maildir / where)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.2.host").write_bytes(SECRET)
    if what == "link":
        (maildir / where).symlink_to(elsewhere)
    elif what == "fifo":
        os.mkfifo(maildir / where)
    else:
        (maildir / where).write_bytes(b"")
    with Pop3(mailbox.server.pop3) as session:
        reply = session.login(mailbox.address, mailbox.password)
        assert reply.startswith(b"-ERR [SYS/PERM] "), reply
        # refused is not locked
        reply = session.login(mailbox.address, mailbox.password)
        assert reply.startswith(b"-ERR [SYS/PERM] "), reply
    if where != "cur":
        with Smtp(mailbox.server.smtp) as session:
            session.expect(b"EHLO client.example", b"250")
            session.expect(b"MAIL FROM:<%s>" % SENDER.encode(), b"250")
            reply = session.ask(f"RCPT TO:<{mailbox.address}>".encode())
            if reply.startswith(b"250"):  # this worker has opened the mailbox before
                session.expect(b"DATA", b"354")
                reply = session.ask(b"Subject: x\r\n\r\n.")
            assert reply[:3] in (b"451", b"452")
    assert [path.name for path in elsewhere.iterdir()] == ["1.2.host"]
    mailbox.server.logged(f"{mailbox.name}/{where} is not a folder")


@pytest.mark.parametrize("name", ENDS)
def test_a_file_with_what_might_end_a_message(mailbox: Mailbox, name: str) -> None:
    """RETR ends once, at its end, also for a client that takes every LF for the end of a line."""
    content = b"Subject: x\r\n\r\n" + (b"text" + ENDS[name]) * 3 + b"+OK 3 octets\r\nDELE 1\r\n"
    (folder(mailbox) / "new" / "1.2.host").write_bytes(content)
    with mailbox.login() as session:
        session.send(b"RETR 1\r\nNOOP\r\nQUIT\r\n")
        said = session.rest()
    lines = said.split(b"\n")
    end = lines.index(b".\r")
    assert lines[end + 1] == b"+OK\r"
    assert lines[end + 2].startswith(b"+OK ")
    assert lines[end + 3 :] == [b""]
    assert b"\n" not in said.replace(b"\r\n", b"")
    got = b"".join(line.removeprefix(b".") + b"\n" for line in lines[1:end])
    alone = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert got == alone


@pytest.mark.parametrize("edge", [16384, 65536])
def test_a_file_with_dots_around_the_edges_of_buffers(mailbox: Mailbox, edge: int) -> None:
    contents = [b"x" * (edge + offset - 2) + b"\n.\n.tail\n" for offset in range(-3, 4)]
    maildir = folder(mailbox)
    next((maildir / "new").iterdir()).unlink()
    for number, content in enumerate(contents):
        (maildir / "new" / f"{number}.2.host").write_bytes(content)
    assert mailbox.messages() == [content.replace(b"\n", b"\r\n") for content in contents]


def vanish(path: Path) -> None:
    path.unlink()


def to_cur(path: Path) -> None:
    path.rename(path.parent.parent / "cur" / f"{path.name}:2,S")


def in_the_way(path: Path) -> None:
    """What takes its place cannot be unlinked, not even by root."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "read", "quit"),
    [
        (vanish, b"-ERR ", b"+OK "),
        (to_cur, b"+OK ", b"+OK "),
        (in_the_way, b"-ERR ", b"-ERR some deleted messages not removed (message 2 remains)"),
    ],
)
def test_changes_behind_the_back_of_a_session(
    mailbox: Mailbox, change: Callable[[Path], None], read: bytes, quit: bytes
) -> None:
    """The snapshot holds, numbers stay, new mail waits; QUIT removes what it can and tells the rest."""
    maildir = folder(mailbox)
    mailbox.fill(MESSAGE % 1, MESSAGE % 2)
    with mailbox.login() as session:
        before = session.multi(b"LIST"), session.multi(b"UIDL")
        change(sorted((maildir / "new").iterdir())[1])
        mailbox.fill(MESSAGE % 3)
        assert (session.multi(b"LIST"), session.multi(b"UIDL")) == before
        with Pop3(mailbox.server.pop3) as second:
            assert second.login(mailbox.address, mailbox.password).startswith(b"-ERR [IN-USE]")
        if read == b"+OK ":
            assert session.multi(b"RETR 2").endswith(MESSAGE % 1)
        else:
            session.expect(b"RETR 2", read)
        assert session.multi(b"RETR 3").endswith(MESSAGE % 2)
        for number in (b"0", b"-1", b"4", b"18446744073709551616", b"18446744073709551617"):
            for command in (b"RETR ", b"DELE "):
                session.expect(command + number, b"-ERR ")
        session.expect(b"DELE 2", b"+OK")
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"QUIT", quit)
    assert [stored.rpartition(b"Subject: ")[2][:1] for stored in mailbox.messages()] == [b"2", b"3"]


def test_a_session_that_is_cut_removes_nothing(mailbox: Mailbox) -> None:
    """DELE and then no QUIT: whatever the client has sent of one."""
    folder(mailbox)
    for last in (b"", b"QUI", b"QUIT", b"QUIT\r", b"QUIT now\r\n", b"QUITT\r\n", b"\0QUIT\r\n"):
        with mailbox.login() as session:
            session.expect(b"DELE 1", b"+OK")
            session.send(last)
            if last.endswith(b"\n"):
                assert session.reply().startswith(b"-ERR")
        assert wait_until(lambda: count(mailbox), "the lock to be given back") == 1


def count(box: Mailbox) -> int | None:
    """How many messages there are; None while another session has the mailbox."""
    with Pop3(box.server.pop3) as session:
        reply = session.login(box.address, box.password)
        if reply.startswith(b"-ERR [IN-USE]"):
            return None
        found = int(session.expect(b"STAT", b"+OK ").split(b" ")[1])
        session.expect(b"QUIT", b"+OK")
        return found
