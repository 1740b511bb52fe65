"""A short session with one of our own listeners: its greeting, TLS and what it says to EHLO or CAPA.

Blocks, with a time limit for each step. It logs in nowhere and changes nothing.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

MAX_LINES = 100  # of one reply
HTTP = ("metrics", "web")
BEGINNINGS = {"pop3": "+OK", **dict.fromkeys(HTTP, "HTTP/1.")}
PROXY = b"PROXY UNKNOWN\r\n"


class ProbeFailed(Exception):
    """The listener does not serve as it should. ``kind`` is that of the finding, the text says why."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@attrs.frozen
class ListenerPlace:
    """Where a listener listens, and what it serves; ``path`` is that of a unix socket.

    ``proxied``: it expects a PROXY header from this machine.
    """

    protocol: str
    tls: str
    host: str = ""
    port: int = 0
    path: str = ""
    proxied: bool = False

    @classmethod
    def of(cls, listener: Mapping[str, Any], proxied: bool = False) -> Self:
        """From an entry of the ready file. All addresses of the machine are reached by loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.get("host", ""), listener.get("host", ""))
        path, port = listener.get("path", ""), listener.get("port", 0)
        return cls(listener["protocol"], listener["tls"], host, port, path, proxied)

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class Served:
    """What a listener has shown. ``certificate`` is in DER, None without TLS."""

    greeting: str
    certificate: bytes | None


class ProbeSession:
    """A connection to a listener, after its greeting; a context that closes it."""

    def __init__(self, place: ListenerPlace, seconds: float, source: str = "") -> None:
        """Connect. ``seconds`` is the limit of each step, ``source`` the own address, "" for any.

        Raises :class:`ProbeFailed`.
        """
        self.place = place
        self.seconds = seconds
        try:
            self.socket = self._connected(source)
        except OSError as error:
            raise ProbeFailed("port-closed", f"no connection: {error.strerror or error}") from None
        self.file = self.socket.makefile("rb")
        try:
            if place.proxied:
                self.socket.sendall(PROXY)
            if place.tls == "implicit":
                self.start_tls()
            self.greeting = self._greeting()
        except BaseException:
            self.close()
            raise

    def _connected(self, source: str) -> Any:
        if self.place.path:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(self.seconds)
            connection.connect(self.place.path)
            return connection
        address = (self.place.host, self.place.port)
        return socket.create_connection(address, self.seconds, (source, 0) if source else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.file.close()
        self.socket.close()

    def start_tls(self) -> None:
        """The handshake; any certificate is taken."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            self.file.close()
            self.socket = context.wrap_socket(self.socket, server_hostname=self.place.host or None)
            self.file = self.socket.makefile("rb")
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror or error
            raise ProbeFailed("port-tls", f"the TLS handshake fails: {reason}") from None

    @property
    def certificate(self) -> bytes | None:
        """The certificate that the listener has shown."""
        if isinstance(self.socket, ssl.SSLSocket):
            return self.socket.getpeercert(binary_form=True)
        return None

    def line(self) -> str:
        """The next line. Raises :class:`ProbeFailed`."""
        try:
            line = self.file.readline(4096)
        except OSError as error:
            raise ProbeFailed("port-silent", f"no answer: {error.strerror or error}") from None
        if not line:
            raise ProbeFailed("port-silent", "it closes the connection")
        return str(line, "utf-8", "replace").rstrip("\r\n")

    def _greeting(self) -> str:
        if self.place.protocol in HTTP:
            self.socket.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        expected = BEGINNINGS.get(self.place.protocol, "220")
        line = first = self.line()
        while expected == "220" and line[3:4] == "-":
            line = self.line()
        if not first.startswith(expected):
            text = f'the greeting is "{first[:80]}", and {self.place.protocol} begins with {expected}'
            raise ProbeFailed("port-other-protocol", text)
        return first[len(expected) :].lstrip(" -")

    def ask(self, command: str) -> Sequence[str]:
        """The lines of the reply to a command of SMTP. Raises :class:`ProbeFailed`."""
        try:
            self.socket.sendall(command.encode() + b"\r\n")
        except OSError as error:
            raise ProbeFailed("port-silent", f"no answer: {error.strerror or error}") from None
        lines = [self.line()]
        while lines[-1][3:4] == "-" and len(lines) < MAX_LINES:
            lines.append(self.line())
        return lines

    def capabilities(self) -> Sequence[str]:
        """The lines of the reply to CAPA (RFC 2449). Raises :class:`ProbeFailed`."""
        lines = list(self.ask("CAPA"))
        while lines[0].startswith("+OK") and lines[-1] != "." and len(lines) < MAX_LINES:
            lines.append(self.line())
        return lines


def probe(place: ListenerPlace, hostname: str, seconds: float) -> Served:
    """Greet, begin TLS where the listener offers it, and leave. Raises :class:`ProbeFailed`."""
    with ProbeSession(place, seconds) as session:
        if place.tls == "starttls":
            is_pop3 = place.protocol == "pop3"
            hello = "LHLO" if place.protocol == "lmtp" else "EHLO"
            offered = session.capabilities() if is_pop3 else session.ask(f"{hello} {hostname}")
            word, command = ("STLS", "STLS") if is_pop3 else ("STARTTLS", "STARTTLS")
            if not any(line[0 if is_pop3 else 4 :].strip() == word for line in offered):
                raise ProbeFailed("port-without-tls", f"it does not offer {word}")
            reply = session.ask(command)[0]
            if not reply.startswith(("220", "+OK")):
                raise ProbeFailed("port-without-tls", f'it answers {command} with "{reply[:80]}"')
            session.start_tls()
        served = Served(session.greeting, session.certificate)
        if place.protocol not in HTTP:
            session.ask("QUIT")
        return served
