"""A plain socket in front of a fixture: what a client gets, and whether the connection has ended."""

import select
import socket
import ssl
from contextlib import suppress
from typing import Any

import attrs

from mailserver.testing.server import MailServer

MAILBOX = "bob@example.test"
END, RESET = "end", "reset"
PATIENCE = 5.0  # real seconds for octets that are on their way


@attrs.frozen
class Scene:
    """A way to a moment. ``before`` is sent first, then ``sent`` brings the moment. ``follow``: a command
    whose reply is the next one, b"" if none can follow. ``at`` as in a rule.
    """

    protocol: str
    moment: str
    sent: bytes = b""
    before: bytes = b""
    follow: bytes = b"XBAR\r\n"
    at: int | None = None
    variant: str = ""

    def __str__(self) -> str:
        at = f" at {self.at}" if self.at is not None else ""
        return f"{self.protocol} {self.moment}{at}{self.variant}"


class Probe:
    """One client. Everything that the server does is done when a method returns."""

    def __init__(self, server: MailServer, scene: Scene) -> None:
        self.server = server
        self.scene = scene
        self.ended = ""
        port: Any = server.smtp if scene.protocol == "smtp" else server.pop3
        self._address = (port.host, port.port)
        self._socket = socket.socket()
        # The system sends each command at once, also if there was no reply to the one before.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connect(self) -> None:
        self._socket.connect(self._address)
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError:
            self.ended = RESET

    def take(self, duration: str | float = 0, *, octets: int = 0) -> bytes:
        """What has arrived after that time of the server, and at least so many octets if they come: a busy
        system delivers some after the server has sent them."""
        self.server.clock.advance(duration)
        taken = self._received()
        while len(taken) < octets and not self.ended and select.select([self._socket], [], [], PATIENCE)[0]:
            taken += self._received()
        return taken

    def _received(self) -> bytes:
        received = b""
        with suppress(BlockingIOError):
            while not self.ended:
                try:
                    data = self._socket.recv(65536)
                except ConnectionResetError:
                    self.ended = RESET
                else:
                    received += data
                    self.ended = "" if data else END
        return received

    def go(self) -> None:
        """Come to the moment."""
        if self.scene.moment not in ("connect", "greeting"):
            self.connect()
            self.take()
            self.send(self.scene.before)
            self.take()

    def trigger(self) -> None:
        """Bring the moment."""
        if self.scene.moment in ("connect", "greeting"):
            self.connect()
        else:
            self.send(self.scene.sent)
        if self.scene.moment == "tls":
            assert self.take().startswith((b"220", b"+OK"))
            self.send(client_hello())

    def accepts_input(self) -> bool:
        """Whether the server still takes input: it does not answer with a reset."""
        for _ in range(3):
            try:
                self._socket.sendall(b"XBAR\r\n")
            except ConnectionError:
                return False
            self.server.clock.advance(0)
        return True

    @property
    def messages(self) -> int:
        """The messages in all mailboxes."""
        return sum(len(messages) for messages in self.server.mailboxes.values())


def client_hello() -> bytes:
    """The first octets of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
