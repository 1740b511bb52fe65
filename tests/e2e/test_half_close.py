"""Scripts that send a whole session at once and close their side: they get all their replies."""

import socket

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import PASSWORD, Server


def all_at_once(address: tuple[str, int], octets: bytes) -> list[bytes]:
    with socket.create_connection(address, 15) as connection:
        connection.sendall(octets)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while data := connection.recv(65536):
            said += data
    return said.split(b"\r\n")


def test_smtp(server: Server) -> None:
    begin = f"EHLO c.example\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n".encode()
    for _ in range(5):
        said = all_at_once(server.smtp, begin + MESSAGES["plain"] + b".\r\n")
        assert said[-2].startswith(b"250 2.0.0 Ok: queued as ")
    said = all_at_once(server.smtp, begin + b"Subject: half of it\r\n")
    assert said[-2].startswith(b"354 ")
    stored = Mailbox(server, "alice").messages()
    assert [original(one) for one in stored] == [MESSAGES["plain"]] * 5


def test_pop3(server: Server) -> None:
    alice = Mailbox(server, "alice")
    alice.fill(MESSAGES["plain"])
    begin = f"USER alice\r\nPASS {PASSWORD}\r\nDELE 1\r\n".encode()
    said = all_at_once(server.pop3, begin + b"NOOP\r\n")
    assert said[-3:] == [b"+OK message 1 deleted", b"+OK", b""]
    assert len(alice.messages()) == 1, "without QUIT nothing is removed"
    said = all_at_once(server.pop3, begin + b"QUIT\r\n")
    assert said[-2].endswith(b"(maildrop empty)")
    assert alice.messages() == []
