"""A disk that is really full: new mail is put off before it is, and whoever wants to make room can."""

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import missing
from tests.support.e2e.server import Makes, Server, configuration, wait_until
from tests.support.runs import rest_slow

MIB = 1024 * 1024
DISK = 24 * MIB
RESERVE = 8 * MIB
BODY = (b"x" * 998 + b"\r\n") * 1000
SETTLED_AFTER = 30.0  # seconds; it takes about one


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    if os.geteuid() != 0:
        missing("only root may mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "mailserver-test", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        missing(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


MANY = [f"user{number}" for number in range(10)]
WAYS = "".join(
    f'''
[[alias]]
address = "alias-{name}"
to = ["{name}"]
[[list]]
address = "list-{name}"
members = ["{name}"]
'''
    for name in MANY
)


@pytest.fixture
def server(disk: Path, make_server: Makes) -> Iterator[Server]:
    text = configuration(
        accounts=["alice", "bob", "carol", *MANY], tables=f"{WAYS}[storage]\nreserve = {RESERVE}\n"
    )
    server = make_server(text.replace('data = "data"', f'data = "{disk}/data"'))
    server.data = disk / "data"
    yield server.start()
    server.finish()


def free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def fill(disk: Path) -> Path:
    """Somebody else takes every octet that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for piece in (MIB, 4096):
            try:
                while file.write(b"\0" * piece) == piece:
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
    assert free(disk) == 0
    return ballast


def send(session: Smtp, name: str, body: bytes = BODY) -> bytes:
    """A message in a session that has begun; the answer to it, or to the command that ended it."""
    session.expect(b"MAIL FROM:<%s>" % SENDER.encode(), b"250")
    for command in (b"RCPT TO:<%s@example.org>" % name.encode(), b"DATA"):
        if not (reply := session.ask(command)).startswith((b"250", b"354")):
            session.expect(b"RSET", b"250")
            return reply
    session.send(b"Subject: full\r\n\r\n" + body)
    return session.ask(b".")


def fill_with_mail(session: Smtp, names: list[str]) -> int:
    """Send until that is refused; how many were taken."""
    for number in range(DISK // len(BODY) + 1):
        reply = send(session, names[number % len(names)])
        if not reply.startswith(b"250"):
            assert reply.startswith(b"452 4.3.1"), reply
            return number
    raise AssertionError("more was taken than the disk can hold")


def settled(server: Server) -> bool:
    """Whether the mail is safe in the mailboxes alone."""
    return not list(server.data.glob("mail/*/*/tmp/*"))


def test_a_full_disk(disk: Path, server: Server) -> None:
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        taken = fill_with_mail(session, ["alice", "bob"])
        assert taken >= 4
        # Refused before the disk is full, and by no more than a message and what the spool takes for itself.
        assert RESERVE - 2 * MIB <= free(disk) <= RESERVE + 2 * len(BODY)

        # Small mail is refused like large mail, in a session that goes on; POP3 reads and removes.
        if free(disk) <= RESERVE:
            assert send(session, "alice", b"small\r\n").startswith(b"452 4.3.1")
        session.expect(b"NOOP", b"250")
        with Mailbox(server, "alice").login() as drop:
            assert drop.multi(b"RETR 1").endswith(BODY)
            drop.expect(b"DELE 1", b"+OK")
            drop.expect(b"QUIT", b"+OK")

        # Not one octet left, the reserve is gone as well.
        wait_until(lambda: settled(server), "the checkpoint", SETTLED_AFTER)
        time.sleep(0.1)
        ballast = fill(disk)
        for _ in range(2):
            assert send(session, "alice").startswith(b"452 4.3.1")
            assert send(session, "alice", b"small\r\n").startswith(b"452 4.3.1")
        boxes = {name: Mailbox(server, name) for name in ("alice", "bob")}
        left = {name: len(box.messages()) for name, box in boxes.items()}
        assert sum(left.values()) == taken - 1
        with boxes["bob"].login() as drop:
            for number in range(1, left["bob"] + 1):
                assert drop.multi(b"RETR %d" % number).endswith(BODY)
                drop.expect(b"DELE %d" % number, b"+OK")
            drop.expect(b"QUIT", b"+OK")
        assert boxes["bob"].uids() == []

        # There is room again.
        ballast.unlink()
        assert send(session, "bob").startswith(b"250")
        session.expect(b"QUIT", b"221")

    server.kill()
    server.start()
    assert len(boxes["bob"].messages()) == 1
    assert len(boxes["alice"].messages()) == left["alice"]


def test_messages_that_came_a_moment_ago_are_removed_while_only_the_reserve_is_left(
    disk: Path, server: Server
) -> None:
    """What is not settled yet has to be settled first, for which the reserve has room."""
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        fill_with_mail(session, ["carol"])
    with Mailbox(server, "carol").login() as drop:
        for number, _ in enumerate(drop.multi(b"LIST").splitlines(), 1):
            drop.expect(b"DELE %d" % number, b"+OK")
        drop.expect(b"QUIT", b"+OK")
    server.kill()
    server.start()
    assert Mailbox(server, "carol").uids() == []


def files(server: Server) -> list[Path]:
    return list(server.data.glob("mail/*/*/*/*"))


@pytest.mark.parametrize(
    ("ways", "taken", "copies"),
    rest_slow(
        [
            ([*MANY, *(f"{name}+detail" for name in MANY)], True, 1),
            ([*MANY[:5], *(f"list-{name}" for name in MANY)], True, 6),
            ([f"list-{name}" for name in MANY], False, 0),
            ([f"user0+{number}" for number in range(50)], True, 1),
            ([f"alias-{name}" for name in MANY], True, 1),
            (["list-user0", "user0", "list-user1", "alias-user1", "list-user2", "user3"], True, 2),
        ],
        first=3,
    ),
)
def test_one_message_to_many(disk: Path, server: Server, ways: list[str], taken: bool, copies: int) -> None:
    """The copies share a file, and what cannot share one is counted before any of it is written."""
    body = (b"x" * 998 + b"\r\n") * 2 * 1024
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<%s>" % SENDER.encode(), b"250")
        for name in ways:
            session.expect(b"RCPT TO:<%s@example.org>" % name.encode(), b"250")
        session.expect(b"DATA", b"354")
        session.send(b"Subject: many\r\n\r\n" + body)
        assert session.ask(b".").startswith(b"250" if taken else b"452 4.3.1")
        assert free(disk) >= RESERVE
        wait_until(lambda: settled(server), "the checkpoint", SETTLED_AFTER)
        assert len({path.stat().st_ino for path in files(server)}) == copies
        assert len(files(server)) == len({path.parent for path in files(server)})
        assert send(session, "alice", b"small\r\n").startswith(b"250")
        session.expect(b"QUIT", b"221")
    if not taken:
        assert [path.parent.parent.name for path in files(server)] == ["alice"]
        assert "reserve" in server.log
