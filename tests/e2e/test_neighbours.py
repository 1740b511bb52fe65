"""Dovecot and mutt read and change the Maildirs that the server serves meanwhile."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.support.corpus.messages import MESSAGES, message, unix
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.neighbours import NEIGHBOURS, Dovecot, Neighbour, files_of
from tests.support.e2e.programs import nobody_can_run_it
from tests.support.e2e.server import Server, configuration, launch_python, launch_twistd

USER = "nobody" if os.geteuid() == 0 else None
THREE = [message(name, b".\r\nbye from %s\r\n" % name.encode()) for name in ("one", "two", "six")]
FOREIGN = b"From: neighbour@example.org\nSubject: foreign\n\n.\n..dots\nGr\xc3\xbc\xc3\x9fe\n"
numbers = count()


@pytest.fixture(scope="module")
def house() -> Iterator[Server]:
    """A running server that is not root, since neither of the two may be, nor read root's files."""
    if USER and not nobody_can_run_it():
        pytest.skip("nobody may not read this Python, or the project, so that nobody can run it")
    launch = partial(launch_twistd, twistd=("--uid", USER, "--gid", "nogroup")) if USER else launch_python
    with tempfile.TemporaryDirectory(prefix="mailserver-test-") as name:
        if USER:
            shutil.chown(name, USER)
        accounts = [f"u{number}" for number in range(40)]
        server = Server(Path(name), configuration(top="", accounts=accounts, tables=""), launch)
        try:
            yield server.start()
        finally:
            server.finish()


@pytest.fixture
def mailbox(house: Server) -> Mailbox:
    return Mailbox(house, f"u{next(numbers)}")


@pytest.fixture
def home(house: Server, mailbox: Mailbox) -> Path:
    """A home for the neighbour's own files, below the server's directory, which it can reach."""
    folder = house.directory / f"home-{mailbox.name}"
    folder.mkdir(mode=0o700)
    if USER:
        shutil.chown(folder, USER)
    return folder


@pytest.fixture(params=NEIGHBOURS)
def neighbour(request: pytest.FixtureRequest, mailbox: Mailbox, home: Path) -> Neighbour:
    return NEIGHBOURS[request.param](mailbox, home, USER)


@pytest.fixture
def dovecot(mailbox: Mailbox, home: Path) -> Dovecot:
    return Dovecot(mailbox, home, USER)


def subject(octets: bytes) -> str:
    return octets.split(b"Subject: ")[1].split(b"\r\n")[0].decode()


def test_reads_what_we_delivered(mailbox: Mailbox, neighbour: Neighbour) -> None:
    mailbox.fill(*MESSAGES.values())
    stored, uids = mailbox.messages(), mailbox.uids()
    assert sorted(neighbour.read()) == sorted(map(unix, stored))
    assert (mailbox.messages(), mailbox.uids()) == (stored, uids)


def test_dovecot_sends_the_same_octets_and_sizes(mailbox: Mailbox, dovecot: Dovecot) -> None:
    mailbox.fill(*MESSAGES.values())
    stored = mailbox.messages()
    assert sorted(dovecot.pop3()) == sorted((len(octets), octets) for octets in stored)
    # what it says without reading comes from our ,S= and ,W=
    sizes = dovecot.doveadm("-f", "tab", "fetch", "size.physical size.virtual", "all").splitlines()[1:]
    assert sorted(sizes) == sorted(b"%d\t%d" % (len(octets), len(octets)) for octets in stored)


def test_marks_and_moves_during_a_session(mailbox: Mailbox, neighbour: Neighbour) -> None:
    mailbox.fill(*THREE)
    stored, uids = mailbox.messages(), mailbox.uids()
    with mailbox.login() as session:
        neighbour.mark("two")
        moved = files_of(mailbox)
        assert [name.partition("/")[0] for name in moved] == ["cur"] * 3
        assert ["F" in name.rpartition(":2,")[2] for name in moved] == [False, True, False]
        assert [session.multi(b"RETR %d" % number) for number in (1, 2, 3)] == stored
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"DELE 2", b"+OK")
        neighbour.mark("one")
        session.expect(b"QUIT", b"+OK")
    assert mailbox.uids() == uids[2:]
    assert mailbox.messages() == stored[2:]
    assert neighbour.read() == [unix(stored[2])]


def test_removes_between_sessions(mailbox: Mailbox, neighbour: Neighbour) -> None:
    mailbox.fill(*THREE)
    stored, uids = mailbox.messages(), mailbox.uids()
    neighbour.remove("two")
    assert mailbox.uids() == [uids[0], uids[2]]
    assert mailbox.messages() == [stored[0], stored[2]]


def test_removes_during_a_session(mailbox: Mailbox, neighbour: Neighbour) -> None:
    mailbox.fill(*THREE)
    stored, uids = mailbox.messages(), mailbox.uids()
    with mailbox.login() as session:
        neighbour.remove("two")
        session.expect(b"STAT", b"+OK 3 %d" % sum(map(len, stored)))
        session.expect(b"RETR 2", b"-ERR")
        assert session.multi(b"RETR 3") == stored[2]
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"DELE 2", b"+OK")
        session.expect(b"QUIT", b"+OK")
    assert mailbox.uids() == uids[2:]


def test_adds_one(mailbox: Mailbox, neighbour: Neighbour) -> None:
    mailbox.fill(THREE[0])
    [ours] = mailbox.uids()
    with mailbox.login() as session:
        neighbour.add(FOREIGN)
        assert len(session.multi(b"UIDL").splitlines()) == 1, "a session keeps what it began with"
    uids = mailbox.uids()
    [theirs] = set(uids) - {ours}
    assert len(uids) == 2
    served = mailbox.messages()[uids.index(theirs)]
    assert served.count(b"\r\n") == served.count(b"\n") == served.count(b"\r")
    head, _, body = unix(served).partition(b"\n\n")
    assert body == FOREIGN.partition(b"\n\n")[2]
    assert b"Subject: foreign" in head.splitlines()
    neighbour.mark("foreign")
    assert mailbox.uids() == uids
    with mailbox.login() as session:
        session.expect(b"DELE %d" % (1 + uids.index(theirs)), b"+OK")
        session.expect(b"QUIT", b"+OK")
    assert mailbox.uids() == [ours]
    assert len(neighbour.read()) == 1


@pytest.mark.parametrize("line_ends", ["lf", "crlf"])
def test_dovecot_saves_one(mailbox: Mailbox, dovecot: Dovecot, line_ends: str) -> None:
    """Its names have S and W: what we list by them is what we send, and what it sends itself."""
    crlf = FOREIGN.replace(b"\n", b"\r\n")
    dovecot.doveadm("-o", f"mail_save_crlf={'yes' if line_ends == 'crlf' else 'no'}", "save", input=FOREIGN)
    stored = crlf if line_ends == "crlf" else FOREIGN
    [name] = files_of(mailbox)
    assert f",S={len(stored)},W={len(crlf)}" in name
    assert mailbox.messages() == [crlf]
    assert dovecot.pop3() == [(len(crlf), crlf)]


def test_nothing_goes_missing_while_flags_change(mailbox: Mailbox, dovecot: Dovecot) -> None:
    """Every login lists every message, once, though their files are renamed meanwhile."""
    mailbox.fill(*THREE * 300)
    uids = mailbox.uids()
    dovecot.pop3()
    enough = Event()

    def change() -> None:
        try:
            for _ in range(5):
                for how in ("add", "remove"):
                    dovecot.doveadm("flags", how, r"\Seen \Flagged", "mailbox", "INBOX", "all")
        finally:
            enough.set()

    thread = Thread(target=change)
    thread.start()
    try:
        while not enough.is_set():
            assert mailbox.uids() == uids
    finally:
        thread.join()
    assert len(mailbox.messages()) == len(uids)
