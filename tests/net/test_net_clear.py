"""Octets in the clear that arrive while the reply to STARTTLS or STLS drains: they are never run under TLS.

The peer does not read for now, so the reply waits; what arrives meanwhile was not there when the command was
run, and is thrown away when TLS begins (RFC 3207 section 4.2, RFC 2595 section 4, CVE-2011-0411).
"""

from typing import Any

import pytest

from mailserver.net.connection import Connection
from tests.support.net.fakes import LOST, POP3Port, SMTPPort, Wire

COMMANDS = {SMTPPort: b"STARTTLS\r\n", POP3Port: b"STLS\r\n"}


class _Handle:
    """The TLS of OpenSSL, as far as it is looked at."""

    def get_protocol_version_name(self) -> str:
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        return "TLS_AES_256_GCM_SHA384"

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class _FullWire(Wire):
    """Has no room for what is written, until it is told to have some; TLS begins when it is asked for."""

    full = False
    secured = False
    connection: Connection

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full:
            self.connection.pauseProducing()

    def startTLS(self, options: object) -> None:
        self.secured = True

    def getHandle(self) -> _Handle:
        return _Handle()


BEHIND: dict[type, list[bytes]] = {
    SMTPPort: [
        b"NOOP\r\n",
        b"EHLO evil.example\r\nMAIL FROM:<evil@b.example>\r\n",
        b"EHLO evil.example\r\n" * 5000,
        b"EHLO evil",
    ],
    POP3Port: [b"CAPA\r\n", b"USER alice\r\nPASS secret\r\n", b"USER alice\r\n" * 5000, b"USER al"],
}


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize(
    ("kind", "behind"), [(kind, octets) for kind, all in BEHIND.items() for octets in all]
)
def test_while_the_reply_drains(kind: type[SMTPPort] | type[POP3Port], behind: bytes, pieces: int) -> None:
    port = kind(settings={"starttls": True}, tls=object)
    connection = port.factory.connection("192.0.2.1")
    wire = _FullWire()
    wire.connection = connection
    connection.makeConnection(wire)
    wire.said()
    wire.full = True
    connection.dataReceived(COMMANDS[kind])
    assert wire.said().startswith((b"220 2.0.0 ", b"+OK ")) and not wire.secured
    cut = len(behind) // pieces
    for piece in filter(None, (behind[:cut], behind[cut:])):
        connection.dataReceived(piece)
    assert wire.said() == b"" and not wire.secured
    wire.full = False
    connection.resumeProducing()
    assert wire.secured
    connection.handshakeCompleted()
    port.reactor.advance(0)
    assert wire.said() == b"", "nothing in the clear is answered under TLS"
    connection.dataReceived(b"MAIL FROM:<>\r\n" if kind is SMTPPort else b"PASS secret\r\n")
    assert wire.said() == (
        b"503 5.5.1 send EHLO or HELO first\r\n" if kind is SMTPPort else b"-ERR send USER first\r\n"
    )
    connection.connectionLost(LOST)
    assert port.is_clean
