"""A mailbox as tests use it: filled by SMTP, read by POP3, both octet for octet."""

import smtplib
from dataclasses import dataclass

from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.server import DOMAIN, PASSWORD, Server

SENDER = "sender@client.example"


@dataclass(frozen=True)
class Mailbox:
    """An account of a running server."""

    server: Server
    name: str
    password: str = PASSWORD

    @property
    def address(self) -> str:
        return f"{self.name}@{DOMAIN}"

    def port(self, protocol: str, tls: str = "") -> int:
        """The port of a protocol with this kind of TLS, or of its first listener; all are on 127.0.0.1."""
        return self.server.address(protocol, tls)[1]

    def fill(self, *messages: bytes) -> None:
        """Deliver messages, in one session."""
        with smtplib.SMTP(*self.server.smtp) as client:
            for octets in messages:
                client.sendmail(SENDER, [self.address], octets)

    def login(self) -> Pop3:
        """A session in the transaction state."""
        session = Pop3(self.server.pop3)
        reply = session.login(self.address, self.password)
        assert reply.startswith(b"+OK"), reply
        return session

    def uids(self) -> list[bytes]:
        """The unique-ids, in order."""
        with self.login() as session:
            answer = session.multi(b"UIDL")
            session.expect(b"QUIT", b"+OK")
        return [line.split(b" ")[1] for line in answer.splitlines()]

    def messages(self) -> list[bytes]:
        """Every message as stored, in order; sizes are checked on the way."""
        with self.login() as session:
            session.expect(b"UTF8", b"+OK")
            sizes = [int(line.split(b" ")[1]) for line in session.multi(b"LIST").splitlines()]
            found = [session.multi(b"RETR %d" % number) for number in range(1, len(sizes) + 1)]
            session.expect(b"QUIT", b"+OK")
        assert [len(octets) for octets in found] == sizes
        return found
