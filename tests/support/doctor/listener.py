"""A listener that a test scripts, in a thread for each connection. It knows just what the doctor says."""

import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Self

from tests.support.tls_material import Issued

HOSTNAME = "mail.example.org"
SMTP = {
    "EHLO": f"250-{HOSTNAME}\r\n250-STARTTLS\r\n250 SIZE 1000",
    "LHLO": f"250-{HOSTNAME}\r\n250 STARTTLS",
    "STARTTLS": "220 go ahead",
    "MAIL": "250 ok",
    "RCPT": "550 5.7.1 relaying denied",
    "RSET": "250 ok",
    "QUIT": "221 bye",
}
POP3 = {"CAPA": "+OK\r\nUSER\r\nSTLS\r\n.", "STLS": "+OK begin", "QUIT": "+OK bye"}


class ScriptedListener:
    """Listens on a port of loopback while it is used as a context. ``replies`` are by command; ``seen`` has
    the commands of all connections. A greeting of None closes the connection."""

    def __init__(
        self,
        protocol: str,
        tls: str = "none",
        issued: Issued | None = None,
        greeting: str | None = "",
        replies: Mapping[str, str] = {},
    ) -> None:
        self.protocol, self.tls = protocol, tls
        usual = f"+OK {HOSTNAME} ready" if protocol == "pop3" else f"220 {HOSTNAME} ESMTP"
        self.greeting = usual if greeting == "" else greeting
        self.replies = {**(POP3 if protocol == "pop3" else SMTP), **replies}
        self.seen: list[str] = []
        self._context: ssl.SSLContext | None = None
        if issued is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(issued.certificate, issued.private_key)

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    @property
    def entry(self) -> dict[str, Any]:
        """As in the ready file."""
        return {"protocol": self.protocol, "tls": self.tls, "host": "127.0.0.1", "port": self.port}

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self._serve(connection)
                except OSError:
                    continue  # the client has left

    def _serve(self, connection: socket.socket) -> None:
        if self.tls == "implicit" and self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        if self.greeting is None:
            return
        connection.sendall(f"{self.greeting}\r\n".encode())
        file = connection.makefile("rb")
        while line := file.readline():
            command = line.decode().strip().partition(" ")[0].upper()
            self.seen.append(line.decode().strip())
            if command in ("PROXY", ""):
                continue
            connection.sendall(f"{self.replies.get(command, '500 what?')}\r\n".encode())
            if command in ("STARTTLS", "STLS"):
                if self._context is None:
                    connection.sendall(b"this is no TLS\r\n")
                    break
                file.close()
                connection = self._context.wrap_socket(connection, server_side=True)
                file = connection.makefile("rb")
            if command == "QUIT":
                break
        file.close()
        connection.close()
