"""Measures the cost of TLS for received mail: ``python -m bench.tls``.

It sends the same messages without TLS, with STARTTLS, and with TLS from the first octet, with and without
session resumption. The client is the same for all, and slower than ``smtp-source``: compare only the rows of
the table. The processor time of the server is the most reliable figure.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import socket
import ssl
import sys
import threading
import time

import attrs

from . import in_turn
from .crowd import connect, unverified
from .errors import BenchError
from .meter import Figures, Meter
from .scale import SMALL
from .servers import DOMAIN, HOST, PASSWORD, Address, Mailserver
from .smtpload import CLIENT, say

CONNECTIONS = 20
BODY = b"Subject: a message\r\n\r\n" + b"one of many lines of the same kind\r\n" * (SMALL // 36) + b".\r\n"
EHLO = b"EHLO " + CLIENT.encode() + b"\r\n"
KINDS = ("none", "starttls", "implicit")


@attrs.frozen
class Row:
    """One way to send: each client makes ``turns`` connections with ``each`` messages per connection."""

    title: str
    tls: str
    each: int
    turns: int
    resume: bool = False

    @property
    def messages(self) -> int:
        return CONNECTIONS * self.turns * self.each


ROWS = tuple(
    Row(f"{title}, {each} per connection", tls, each, turns, resume)
    for each, turns in ((1, 100), (100, 3))
    for title, tls, resume in (
        ("no TLS", "none", False),
        ("STARTTLS", "starttls", False),
        ("implicit TLS", "implicit", False),
        ("implicit TLS, resumed sessions", "implicit", True),
    )
    if each == 1 or not resume
)


class TLSServer(Mailserver):
    """A server with an SMTP port for each kind of TLS."""

    def configuration(self) -> str:
        lines = [f'hostname = "mail.{DOMAIN}"', f'domains = ["{DOMAIN}"]', 'data = "data"']
        lines += ["allow_root = true"]
        for protocol, tls in (("pop3", "none"), *(("smtp", kind) for kind in KINDS)):
            lines += ["[[listen]]", f'protocol = "{protocol}"', f'tls = "{tls}"']
            lines += [f'endpoint = "tcp:0:interface={HOST}"']
        lines += ["[tls]", "generate = true", "[pop3]", 'plaintext_auth = "loopback"']
        for user in self.users:
            lines += ["[[account]]", f'address = "{user}@{DOMAIN}"', f'password = "{PASSWORD}"']
        return "\n".join([*lines, ""])


class Sender(threading.Thread):
    """One client. It sends all its messages to one mailbox, one connection after another."""

    def __init__(self, address: Address, row: Row, user: str) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.row = row
        self.user = user
        self.context = unverified()
        self.session: ssl.SSLSession | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            for _ in range(self.row.turns):
                self.connection()
        except (BenchError, OSError) as error:
            self.failure = error

    def connection(self) -> None:
        client = plain = connect(self.address)
        try:
            if self.row.tls == "implicit":
                client = self.secured(plain)
            say(client, b"", b"220")
            say(client, EHLO, b"250")
            if self.row.tls == "starttls":
                say(client, b"STARTTLS\r\n", b"220")
                client = self.secured(plain)
                say(client, EHLO, b"250")
            for _ in range(self.row.each):
                say(client, b"MAIL FROM:<sender@%s>\r\n" % CLIENT.encode(), b"250")
                say(client, b"RCPT TO:<%s@%s>\r\n" % (self.user.encode(), DOMAIN.encode()), b"250")
                say(client, b"DATA\r\n", b"354")
                say(client, BODY, b"250")
            say(client, b"QUIT\r\n", b"221")
            if self.row.resume and isinstance(client, ssl.SSLSocket):
                if self.session is not None and not client.session_reused:
                    raise BenchError("the server does not resume sessions")
                self.session = client.session
        finally:
            client.close()

    def secured(self, plain: socket.socket) -> ssl.SSLSocket:
        return self.context.wrap_socket(plain, session=self.session)


def run(server: TLSServer, row: Row) -> Figures:
    """The figures of one row. Raises BenchError."""
    senders = [Sender(server.port("smtp", row.tls), row, user) for user in server.users]
    with Meter(server) as meter:
        began = time.perf_counter()
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        seconds = time.perf_counter() - began
    for sender in senders:
        if sender.failure is not None:
            raise BenchError(f"{row.title}: {sender.failure}")
        server.sent[sender.user] = server.sent.get(sender.user, 0) + row.turns * row.each
    return {"messages/s": row.messages / seconds, **meter.figures("message", row.messages)}


def main() -> int:
    rows = {row.title: row for row in ROWS}
    return in_turn.main(
        "tls",
        "Measure the cost of TLS.",
        lambda folder: TLSServer(folder, [f"user{number}" for number in range(CONNECTIONS)]),
        list(rows),
        lambda server, title: run(server, rows[title]),
    )


if __name__ == "__main__":
    sys.exit(main())
