"""BDAT (RFC 3030) from plain sockets, through a whole server: what arrives is what POP3 gives."""

import pytest

from tests.support.attacks.memory import ROOM, most_memory
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, Server, configuration

HEAD = b"From: a@b.example\r\nSubject: chunks\r\n"
MILLION = 1_000_000


def begin(mailbox: Mailbox, parameters: bytes = b"") -> Smtp:
    """A session up to its first BDAT."""
    session = Smtp(mailbox.server.smtp)
    session.expect(b"EHLO client.example", b"250")
    session.expect(b"MAIL FROM:<a@b.example>" + parameters, b"250")
    session.expect(b"RCPT TO:<%s>" % mailbox.address.encode(), b"250")
    return session


def stored(mailbox: Mailbox) -> bytes:
    """The content of the only message, as its file has it."""
    [path] = (mailbox.server.data / "mail" / "example.org" / mailbox.name).glob("[nc]*/*")
    content = path.read_bytes()
    return content[content.index(b"From: a@b.example") :]


def test_a_message_in_pipelined_chunks(mailbox: Mailbox) -> None:
    content = HEAD + b"\r\n.\r\n..\r\nQUIT\r\n.\r\n" + b"0123456789\r\n" * 50_000
    with begin(mailbox) as session:
        chunks = [content[start : start + 7001] for start in range(0, len(content), 7001)]
        session.send(b"".join(b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in chunks))
        assert [session.reply()[:9] for _ in chunks] == [b"250 2.0.0"] * len(chunks)
        session.expect(b"BDAT 0 LAST", b"250 2.0.0 Ok: queued as ")
    assert stored(mailbox) == content
    assert mailbox.messages()[0].endswith(content)


def test_a_message_without_a_line_end_at_its_end(mailbox: Mailbox) -> None:
    """The file has what was sent. POP3 completes the line, and its sizes say so (RFC 1939 section 3)."""
    content = HEAD + b"\r\nno end"
    with begin(mailbox) as session:
        session.send(b"BDAT %d LAST\r\n%b" % (len(content), content))
        assert session.reply().startswith(b"250 2.0.0 Ok: queued as ")
    assert stored(mailbox) == content
    assert mailbox.messages()[0].endswith(content + b"\r\n")  # this checks the size, too


def test_a_binary_message(mailbox: Mailbox) -> None:
    """All octets are kept. POP3 sends them as they are, dot-stuffed, and completes the last line."""
    body = bytes(range(256)) + b"\n.\r\n.\n..\r\r\n\0" + bytes(reversed(range(256)))
    content = HEAD + b"Content-Type: application/x-test\r\nContent-Transfer-Encoding: binary\r\n\r\n" + body
    with begin(mailbox, b" BODY=BINARYMIME") as session:
        session.expect(b"DATA", b"503")
        session.send(b"BDAT 100\r\n%bBDAT %d LAST\r\n%b" % (content[:100], len(content) - 100, content[100:]))
        session.reply()
        assert session.reply().startswith(b"250 2.0.0 Ok: queued as ")
    assert stored(mailbox) == content
    with mailbox.login() as session:
        [size] = [int(line.split()[1]) for line in session.multi(b"LIST").splitlines()]
        session.send(b"RETR 1\r\nQUIT\r\n")
        first, _, rest = session.rest().partition(b"\r\n")
    octets = rest[: rest.rindex(b".\r\n+OK")]
    assert first == b"+OK %d octets" % size
    stuffed = content.replace(b"\n.", b"\n..") + b"\r\n"
    assert octets.endswith(stuffed)
    assert len(octets) - (len(stuffed) - len(content) - 2) == size


def test_a_dropped_connection_leaves_nothing(mailbox: Mailbox) -> None:
    with begin(mailbox) as session:
        session.send(b"BDAT 100\r\n" + HEAD.ljust(98, b"x") + b"\r\nBDAT 100 LAST\r\nx")
        session.reply()
    with begin(mailbox) as session:
        session.send(b"BDAT 100\r\n" + HEAD.ljust(98, b"x") + b"\r\n")
        session.reply()
        session.expect(b"RSET", b"250")
        session.expect(b"BDAT 0 LAST", b"503")
        session.expect(b"QUIT", b"221")
    assert mailbox.messages() == []


@pytest.mark.slow
def test_a_million_chunks_of_one_octet(make_server: Makes) -> None:
    """The memory does not grow with their number; ``attacks/test_linear_time.py`` is about the time."""
    server: Server = make_server(configuration(tables='[limits]\ncommands_per_address = "0"\n')).start()
    mailbox = Mailbox(server, "bob")
    with begin(mailbox) as session:
        session.socket.settimeout(300)
        session.send(b"BDAT %d\r\n%b\r\n" % (len(HEAD) + 2, HEAD))
        session.reply()
        before = most_memory(server)
        for _ in range(MILLION // 1000):
            session.send(b"BDAT 1\r\nx" * 1000)
            for _ in range(1000):
                assert session.file.readline() == b"250 2.0.0 Ok\r\n"
        session.expect(b"BDAT 0 LAST", b"250")
        assert most_memory(server) - before < ROOM
    assert stored(mailbox) == HEAD + b"\r\n" + b"x" * MILLION
