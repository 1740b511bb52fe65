"""Names that mean something to a file system or a shell: as recipients, as POP3 users, as accounts.

None may reach anything outside the mailboxes (path traversal), nor be run (the ``;`` and ``|`` of old
delivery agents).
"""

from pathlib import Path

import pytest

from tests.support.corpus.messages import message, original
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, Server, configuration

NAMES = [
    "../../x", "..", ".", "...", "/", "/etc/x", "/etc/passwd", "%2e", "%2e%2e%2fx", "%00", "..%2f..%2fx",
    "alice/../bob", "alice/", "alice/cur", "alice/../../../x", "./alice", "..\\..\\x", "C:x", "~", "~root",
    "$HOME", "$(touch${IFS}x)", "`touch${IFS}x`", ";touch${IFS}x", "|touch${IFS}x", "&x", "x>y", "-rf",
    "*", "?lice", "[a]lice", "{alice,bob}", "alice:2,S", "new", "tmp", "lock", "x" * 300, "../" * 80 + "x",
    ".hidden", "alice\\", "'", '"', "al%ice", "+alice", "alice@", "@", "x\\0y",
]  # fmt: skip


def quoted(name: str) -> bytes:
    return b'"%s"' % name.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def tree(root: Path) -> set[str]:
    """All there is below a folder, sockets and links included."""
    return {str(path) for path in root.rglob("*")}


def test_as_recipients_and_senders(mailbox: Mailbox) -> None:
    server = mailbox.server
    before = tree(server.directory)
    paths = [b"<%s@example.org>" % form for name in NAMES for form in (name.encode(), quoted(name))]
    paths += [b"<alice@%s>" % name.encode() for name in NAMES] + [name.encode() for name in NAMES]
    for start in range(0, len(paths), 15):
        with Smtp(server.smtp) as session:
            session.expect(b"EHLO client.example", b"250")
            session.expect(b"MAIL FROM:<a@b.example>", b"250")
            for path in paths[start : start + 15]:
                reply = session.ask(b"RCPT TO:" + path)
                assert reply[:3] in (b"500", b"501", b"550", b"553", b"555"), (path, reply)
            session.expect(b"DATA", b"503")
    assert tree(server.directory) == before


def test_as_users(mailbox: Mailbox) -> None:
    """Whatever the name, a wrong login; a mailbox that is not an account's is not opened or made."""
    server = mailbox.server
    before = tree(server.directory)
    for name in NAMES:
        forms = (name.encode(), b"%s@example.org" % name.encode(), b"%s@example.org" % quoted(name))
        with Pop3(server.pop3) as session:
            for user in forms:
                if session.ask(b"USER " + user).startswith(b"+OK"):
                    reply = session.ask(b"PASS x")
                    assert reply.startswith(b"-ERR [AUTH]"), (user, reply)
    assert tree(server.directory) == before


# Quoted as an address needs it; names that a shell or a path would take apart.
ACCOUNTS = [
    "../../x", "/etc/x", ".", "..", "%2e", "a/b", "a%2fb", "`touch${IFS}x`", ";touch${IFS}x", "|touch${IFS}x",
    "$(touch${IFS}x)", "-rf", "*", "~root", "'", "\\", "cur", "a" * 200,
]  # fmt: skip


def address(name: str) -> str:
    return f"{quoted(name).decode()}@example.org"


@pytest.fixture
def hostile(make_server: Makes) -> Server:
    table = "[[account]]\naddress = '''%s'''\npassword = 'x'\n"
    accounts = "".join(table % address(name) for name in ACCOUNTS)
    return make_server(configuration(accounts=["alice"], tables=accounts)).start()


def test_as_accounts(hostile: Server) -> None:
    """Each is a mailbox like any other, of its own, in the one place for mailboxes."""
    sent = {name: message(str(number), b"for one alone\r\n") for number, name in enumerate(ACCOUNTS)}
    with Smtp(hostile.smtp) as session:
        for name, content in sent.items():
            session.begin("a@b.example", address(name))
            session.send(content + b".\r\n")
            reply = session.reply()
            assert reply.startswith(b"250 "), (name, reply)
    for name, content in sent.items():
        with Pop3(hostile.pop3) as session:
            assert session.login(address(name), "x").startswith(b"+OK"), name
            assert session.ask(b"STAT").startswith(b"+OK 1 "), name
            assert original(session.multi(b"RETR 1")) == content
    boxes = hostile.data / "mail" / "example.org"
    folders = {path.parent.parent for path in (hostile.data / "mail").rglob("*") if path.is_file()}
    assert {folder.parent for folder in folders} == {boxes}
    assert len(folders) == len(ACCOUNTS)
    for folder in folders:
        assert set(folder.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._+-%")
        assert not folder.name.startswith(".")
    known = str(boxes), str(hostile.data / "spool"), str(hostile.data / "trace")
    outside = {path for path in tree(hostile.directory) if not path.startswith(known)}
    assert {Path(path).name for path in outside} <= {
        "data", "mail", "tmp", "lock", "control.sock", "mailserver.toml", "ready.json", "server.log",
        "example.org", "accounts.db", "accounts.db-wal", "accounts.db-shm", "made-accounts.db", "srs.keys",
        "format",
    }  # fmt: skip
