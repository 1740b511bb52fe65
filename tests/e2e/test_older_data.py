"""A data directory of the version before, which had no spool: it opens, and nobody notices."""

from pathlib import Path

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes

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
