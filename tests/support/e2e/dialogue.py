"""Plain sockets for what the client libraries hide: exact octets, unfinished sessions, silence."""

import socket
import ssl
from types import TracebackType
from typing import Self

SECONDS = 60.0
HOSTNAME = "mail.example.org"


class Dialogue:
    """A connection, spoken to line by line. Closing it says nothing to the server: no QUIT."""

    def __init__(
        self,
        address: tuple[str, int] | str | socket.socket,
        seconds: float = SECONDS,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """With a ``context`` there is TLS from the first octet. Nobody greets on a socket that is given."""
        if isinstance(address, socket.socket):
            self.socket = address
            self.socket.settimeout(seconds)
        elif isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(seconds)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, seconds)
        if context is not None:
            self.begin_tls(context)
        else:
            self.file = self.socket.makefile("rb")
        self.greeting = b"" if isinstance(address, socket.socket) else self.reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def begin_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands now."""
        self.socket = context.wrap_socket(self.socket, server_hostname=HOSTNAME)
        self.file = self.socket.makefile("rb")

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def line(self) -> bytes:
        """The next line without its CRLF."""
        line = self.file.readline()
        if not line:
            raise EOFError("the server closed the connection")
        assert line.endswith(b"\r\n"), line
        return line[:-2]

    def reply(self) -> bytes:
        return self.line()

    def ask(self, command: bytes) -> bytes:
        self.send(command + b"\r\n")
        return self.reply()

    def expect(self, command: bytes, prefix: bytes) -> bytes:
        """Ask, and fail unless the reply begins so."""
        reply = self.ask(command)
        assert reply.startswith(prefix), f"{command!r} was answered {reply!r}"
        return reply

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        return self.file.read()


class Smtp(Dialogue):
    """A dialogue in SMTP; replies of several lines are joined by CRLF."""

    def reply(self) -> bytes:
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return b"\r\n".join(lines)

    def begin(self, sender: str, *recipients: str, notify: str = "") -> None:
        """Up to and with the 354 that asks for the message. ``notify`` is for each recipient."""
        self.expect(b"EHLO client.example", b"250")
        self.expect(b"MAIL FROM:<%s>" % sender.encode(), b"250")
        for recipient in recipients:
            more = f" NOTIFY={notify}" if notify else ""
            self.expect(f"RCPT TO:<{recipient}>{more}".encode(), b"250")
        self.expect(b"DATA", b"354")


class Pop3(Dialogue):
    """A dialogue in POP3."""

    def login(self, user: str, password: str) -> bytes:
        """The answer to PASS."""
        self.expect(b"USER " + user.encode(), b"+OK")
        return self.ask(b"PASS " + password.encode())

    def multi(self, command: bytes) -> bytes:
        """The octets of a multi-line answer, byte-stuffing undone (RFC 1939 section 3)."""
        self.expect(command, b"+OK")
        lines = []
        while (line := self.line()) != b".":
            lines.append((line[1:] if line.startswith(b".") else line) + b"\r\n")
        return b"".join(lines)
