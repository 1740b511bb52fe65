"""Floods: more octets, lines and recipients than anybody needs, sent to a whole server.

It must answer once, stay in step, and hold none of it: the most memory the process ever had hardly grows.
"""

import pytest

from tests.support.attacks.memory import MIB, ROOM, most_memory
from tests.support.attacks.ways import HELLO, MAIL
from tests.support.corpus.messages import message, original
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import Mailbox


@pytest.mark.parametrize("kind", [Smtp, Pop3])
def test_100_mb_without_a_line_end(mailbox: Mailbox, kind: type[Smtp] | type[Pop3]) -> None:
    server = mailbox.server
    with kind(server.smtp if kind is Smtp else server.pop3) as session:
        before = most_memory(server)
        for _ in range(100):
            session.send(b"x" * MIB)
        first = session.ask(b"")
        assert first.startswith(b"500 5.5.2 " if kind is Smtp else b"-ERR ")
        assert session.ask(b"QUIT").startswith(b"221 " if kind is Smtp else b"+OK ")
        assert session.rest() == b""
    assert most_memory(server) - before < ROOM


def test_100_mb_in_one_line_of_a_message_that_was_declared_small(mailbox: Mailbox) -> None:
    """Over the limit of 50 MiB by its octets, whatever SIZE said; dropped there, from the disk as well."""
    server = mailbox.server
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<a@b.example> SIZE=1", b"250")
        session.expect(b"RCPT TO:<%s>" % mailbox.address.encode(), b"250")
        session.expect(b"DATA", b"354")
        before = most_memory(server)
        for _ in range(100):
            session.send(b"x" * MIB)
        session.send(b"\r\nQUIT\r\nMAIL FROM:<evil@b.example>\r\n.\r\n")
        assert session.reply().startswith(b"552 5.3.4 ")
        session.expect(b"RCPT TO:<%s>" % mailbox.address.encode(), b"503 ")
        session.expect(b"NOOP", b"250 ")
    assert most_memory(server) - before < ROOM
    assert list((server.data / "tmp").iterdir()) == []
    assert mailbox.messages() == []


def test_30_mb_declared_as_one_octet_are_a_message_all_the_same(mailbox: Mailbox) -> None:
    server = mailbox.server
    content = message("large", (b"y" * 8190 + b"\r\n") * 128 * 30)
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<a@b.example> SIZE=1", b"250")
        session.expect(b"RCPT TO:<%s>" % mailbox.address.encode(), b"250")
        session.expect(b"DATA", b"354")
        before = most_memory(server)
        session.send(content)
        session.expect(b".", b"250 ")
    [stored] = mailbox.messages()
    assert most_memory(server) - before < ROOM
    assert original(stored) == content


def test_10000_recipients(mailbox: Mailbox) -> None:
    """The first 1,000 are taken and get the message; the others are told to wait, one by one."""
    server, name = mailbox.server, mailbox.name.encode()
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<a@b.example>", b"250")
        before = most_memory(server)
        codes = []
        for start in range(0, 10_000, 500):
            numbers = range(start, start + 500)
            session.send(b"".join(b"RCPT TO:<%s+%d@example.org>\r\n" % (name, n) for n in numbers))
            codes += [session.reply()[:9] for _ in numbers]
        assert codes == [b"250 2.1.5"] * 1000 + [b"452 4.5.3"] * 9000
        session.expect(b"DATA", b"354")
        session.expect(b"Subject: to many\r\n\r\n.", b"250 ")
    assert most_memory(server) - before < ROOM
    [stored] = mailbox.messages()
    assert stored.endswith(b"\r\nSubject: to many\r\n\r\n")


def test_commands_without_end_in_one_transaction(mailbox: Mailbox) -> None:
    """RSET and MAIL again and again, with nobody reading: the replies do not pile up in the server."""
    server = mailbox.server
    with Smtp(server.smtp) as session:
        before = most_memory(server)
        session.socket.setblocking(False)
        sent = 0
        try:
            for _ in range(300):
                sent += session.socket.send(HELLO + (MAIL + b"RSET\r\n") * 10_000)
        except BlockingIOError:
            session.socket.setblocking(True)
        assert 0 < sent < 100 * MIB, "the server reads on while its replies are not read"
    assert most_memory(server) - before < ROOM
