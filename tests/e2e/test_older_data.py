"""Data directories of older versions: each opens, and nobody notices."""

import re
import tarfile
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.commands import mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, Server, configuration, wait_until

UNIQUE = "1700000000.M00000{}P1Q1R0123456789ab.mail.example.org"
HEAD = b"Return-Path: <sender@client.example>\r\nDelivered-To: alice@example.org\r\n"


def put(box: Path, folder: str, number: int, flags: str = "") -> bytes:
    """A file as that version left it; its unique-id."""
    octets = HEAD + MESSAGES["plain"]
    unique = UNIQUE.format(number)
    path = box / folder / f"{unique},S={len(octets)},W={len(octets)}{flags}"
    path.write_bytes(octets)
    path.chmod(0o600)
    return unique.encode()


def test_an_older_data_directory(make_server: Makes) -> None:
    server = make_server()
    box = server.data / "mail/example.org/alice"
    for folder in (server.data / "tmp", *(box / name for name in ("cur", "new", "tmp"))):
        folder.mkdir(parents=True, mode=0o700)
    (server.data / "lock").write_text("pid 1\n")
    known = [put(box, "cur", 1, ":2,S"), put(box, "new", 2)]
    left = box / "tmp" / UNIQUE.format(3)
    left.write_bytes(b"a delivery that was cut short")

    server.start()
    alice = Mailbox(server, "alice")
    assert alice.uids() == known
    assert alice.messages() == [HEAD + MESSAGES["plain"]] * 2
    alice.fill(MESSAGES["dots"])
    with alice.login() as session:
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"QUIT", b"+OK")
    for end in (server.kill, server.stop):
        end()
        server.start()
        assert alice.uids()[0] == known[1]
        assert original(alice.messages()[1]) == MESSAGES["dots"]
    assert left.exists(), "36 hours have not passed"
    assert not (server.data / "damaged").exists()


QUEUE = """
[queue]
retry = ["1s"]
[storage]
quota = "1 MiB"
"""


def unpack(name: str, server: Server) -> None:
    """Put a stored data directory where the server has its own."""
    with tarfile.open(Path(__file__).with_name(name)) as archive:
        # Python 3.11.3 and older know no filters.
        archive.extraction_filter = getattr(tarfile, "tar_filter", None)
        archive.extractall(server.directory)


def subjects(server: Server, name: str) -> list[str]:
    texts = [message.decode() for message in Mailbox(server, name).messages()]
    return [re.findall("^Subject: (.*)\r$", text, re.MULTILINE)[0] for text in texts]


def test_a_spool_of_format_0(make_server: Makes) -> None:
    """It was killed a moment after its last answers. Three messages wait for bob, whose mailbox was full, in
    rows that have their contents; the copies of three are not synced, and one of these is lost."""
    accounts = ["alice", "bob", "carol"]
    server = make_server(configuration(accounts=accounts, tables=QUEUE))
    unpack("format0.tar.xz", server)
    (lost,) = server.data.glob("mail/example.org/carol/new/*")
    lost.unlink()
    status, lines, _ = mailserver(server, "verify")
    told = "spool/queue.db: has the format of an older version; would be converted at the next start"
    assert (status, told in lines) == (1, True)
    server.start()

    to_club = ["small to the club", "large to the club", "not synced to the club"]
    assert subjects(server, "alice") == [*to_club, "not synced, small"]
    assert subjects(server, "carol") == ["not synced, large"]
    assert subjects(server, "dora") == ["not synced, small"]
    wait_until(lambda: len(Mailbox(server, "bob").uids()) == 3, "what waited for bob")
    assert sorted(subjects(server, "bob")) == sorted(to_club)
    assert {len(text) for text in Mailbox(server, "bob").messages()} == {320, 325, 100264}
    server.stop()
    assert (server.data / "format").read_text() == "1\n"
    assert list(server.data.glob("spool/contents/*")) == []
    assert mailserver(server, "queue", "list") == (0, ["0 messages, 0 recipients waiting"], [])
    assert mailserver(server, "verify")[0] == 0
    assert not (server.data / "damaged").exists()


def test_format_1(make_server: Makes) -> None:
    """Alice and a list are in the account store. A message to the list waits for bob, whose mailbox was
    full."""
    server = make_server(configuration(accounts=["bob"], tables='[queue]\nretry = ["1s"]'))
    unpack("format1.tar.xz", server)
    status, lines, _ = mailserver(server, "list", "list")
    assert status == 0 and "club@example.org" in lines[0], lines
    server.start()
    assert subjects(server, "alice") == ["waits for bob"]
    wait_until(lambda: len(Mailbox(server, "bob").uids()) == 2, "what waited for bob")
    assert sorted(subjects(server, "bob")) == ["fills", "waits for bob"]
    server.stop()
    assert not (server.data / "damaged").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("2\n", "{} has format 2, of a newer version of mailserver; this version reads formats up to 1"),
        ("one\n", "{}/format: is not the number of a format"),
    ],
)
def test_a_newer_format(make_server: Makes, content: str, told: str) -> None:
    """Neither the server nor a command touches the data."""
    server = make_server()
    server.data.mkdir(mode=0o700)
    (server.data / "format").write_text(content)
    (server.data / "format").chmod(0o600)
    told = told.format(server.data)
    lines, _ = server.refused()
    assert lines == [f"{server.config}: data: {told}"]
    for words in (["alias", "list"], ["queue", "list"], ["verify"]):
        assert mailserver(server, *words) == (1, [], [f"mailserver: {told}"])
    assert sorted(path.name for path in server.data.iterdir()) == ["format", "lock"]
