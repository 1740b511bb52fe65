"""Calls far sides with the dialler of the server, and shorthands for the messages that it sends."""

from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import ServerFactory
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates

from mailserver.errors import HostUnusable
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement
from mailserver.net.client_tls import ClientTLS
from mailserver.net.dialling import Dialler
from mailserver.net.pairs import PairFiles, read_pair
from mailserver.net.sending import SendingConnection
from mailserver.net.tls import server_options
from mailserver.smtp.sender.events import Fate
from mailserver.smtp.sender.settings import OutgoingMail, OutgoingRecipient, SenderSettings
from tests.support.far_sides.far_side import FarSide
from tests.support.tls_material import Authority, Issued
from tests.support.virtual_time import VirtualTimeReactor

SETTINGS = SenderSettings(hostname="mail.example.org")
NAME = "mx.example.net"


@attrs.define
class Content:
    """A content in pieces; an exception among them is the end."""

    pieces: list[Any]
    whole: bytes | None = None

    def read(self) -> Deferred[bytes]:
        if not self.pieces:
            return succeed(b"")
        piece = self.pieces.pop(0)
        return fail(piece) if isinstance(piece, Exception) else succeed(piece)


def mail(*recipients: str, size: int = 3) -> OutgoingMail:
    names = recipients or ("bob@example.net",)
    return OutgoingMail(
        reverse_path="alice@example.org", recipients=tuple(map(OutgoingRecipient, names)), size=size
    )


class Caller:
    """Calls far sides. ``trusted`` is the only trusted authority."""

    def __init__(self, reactor: VirtualTimeReactor, trusted: Authority) -> None:
        self.reactor = reactor
        root = trustRootFromCertificates([Certificate.loadPEM(trusted.path.read_bytes())])
        self.dialler = Dialler(reactor, ClientTLS(root))

    def listen(self, far: FarSide | ServerFactory, address: str = "127.0.0.1") -> RelayHost:
        port = self.reactor.listenTCP(0, far, interface=address)
        return RelayHost(NAME, (address,), port.getHost().port)

    def dial(
        self,
        host: RelayHost,
        level: TLSLevel = TLSLevel.OPPORTUNISTIC,
        settings: SenderSettings = SETTINGS,
        check: Any = None,
        source: Any = (),
    ) -> SendingConnection:
        requirement = TLSRequirement(level, "relay.tls", check)
        connection = self.reactor.wait(self.dialler.dial(host, settings, requirement, source))
        assert isinstance(connection, SendingConnection)
        return connection

    def refused(self, host: RelayHost, level: TLSLevel = TLSLevel.OPPORTUNISTIC, **more: Any) -> HostUnusable:
        with pytest.raises(HostUnusable) as caught:
            self.dial(host, level, **more)
        return caught.value


def shown(issued: Issued) -> CertificateOptions:
    return server_options([read_pair(PairFiles("tls", issued.certificate, issued.private_key))])


def fates(results: Any) -> list[Fate]:
    return [one.fate for one in results]


def shown_as_is(issued: Issued) -> CertificateOptions:
    """A certificate that this server would not use itself."""
    certificate: Any = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    private_key: Any = load_pem_private_key(issued.private_key.read_bytes(), None)
    return CertificateOptions(privateKey=private_key, certificate=certificate)
