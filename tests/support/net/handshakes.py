"""TLS in memory: the product's side on pyOpenSSL, the client's on the standard library."""

import contextlib
import ssl
from pathlib import Path
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory

TLS12 = ssl.TLSVersion.TLSv1_2
TLS13 = ssl.TLSVersion.TLSv1_3


Options = CertificateOptions | IOpenSSLServerConnectionCreator


@attrs.frozen
class Talk:
    """Both ends after a handshake that both think is done."""

    server: SSL.Connection
    client: ssl.SSLObject
    to_client: ssl.MemoryBIO
    from_client: ssl.MemoryBIO

    def say(self, data: bytes) -> bytes:
        """Send octets to the server, and return what has come there."""
        self.client.write(data)
        self.server.bio_write(self.from_client.read())
        return self.server.recv(65536)

    def answer(self, data: bytes) -> bytes:
        """Send octets to the client, and return what has come there."""
        self.server.send(data)
        self.to_client.write(self.server.bio_read(65536))
        return self.client.read(65536)


def server_end(options: Options) -> SSL.Connection:
    """The server's connection, made as Twisted makes it."""
    factory = TLSMemoryBIOFactory(options, False, Factory(), Clock())
    protocol: Any = _Protocol(factory)
    connection = options.serverConnectionForTLS(protocol)
    connection.set_app_data(protocol)
    connection.set_accept_state()
    return connection


@attrs.frozen
class _Protocol:
    """All that Twisted asks of the protocol while it makes a connection."""

    factory: TLSMemoryBIOFactory


def client_context(ca: Path, **settings: Any) -> ssl.SSLContext:
    """A client that trusts ``ca``; ``settings`` are attributes of its context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def shake_hands(
    options: Options,
    client: ssl.SSLContext,
    name: str | None = None,
    session: ssl.SSLSession | None = None,
) -> Talk:
    """A handshake. Raises ``SSL.Error`` if the server ends it, ``ssl.SSLError`` if the client does."""
    server = server_end(options)
    to_client, from_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client.check_hostname = name is not None
    end = client.wrap_bio(to_client, from_client, server_hostname=name, session=session)
    waiting = {end, server}
    while waiting:
        if end in waiting:
            try:
                end.do_handshake()
                waiting.discard(end)
            except ssl.SSLWantReadError:
                pass
        if from_client.pending:
            server.bio_write(from_client.read())
        if server in waiting:
            try:
                server.do_handshake()
                waiting.discard(server)
            except SSL.WantReadError:
                pass
        try:
            to_client.write(server.bio_read(65536))
        except SSL.WantReadError:
            assert from_client.pending or not waiting, "both ends wait for each other"
    talk = Talk(server, end, to_client, from_client)
    assert talk.answer(b"hello") == b"hello"  # in TLS 1.3 tickets come before it
    return talk


def openssl_client(**limits: int) -> SSL.Connection:
    """A client of pyOpenSSL, which can do what that of the standard library cannot."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    for name, version in limits.items():
        getattr(context, f"set_{name}_proto_version")(version)
    connection = SSL.Connection(context)
    connection.set_connect_state()
    return connection


def exchange(client: SSL.Connection, server: SSL.Connection) -> None:
    """Let two ends of pyOpenSSL talk until they have nothing more to say."""
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                one.recv(1)
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
