"""TLS for connections to other servers: the handshake, and what the certificate of the other server is worth.

The handshake accepts any certificate, and the problem of the certificate is a result. So opportunistic TLS
(RFC 7435) and TLS with a verified certificate differ only in the treatment of that result. The name of the
host is checked by RFC 6125, the authorities are those of the system.
"""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion, platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

# Result types of RFC 8460 section 4.3.
EXPIRED = "certificate-expired"
NOT_TRUSTED = "certificate-not-trusted"
OTHER_HOST = "certificate-host-mismatch"
FAILED = "validation-failure"
NOT_SUPPORTED = "starttls-not-supported"

_HAS_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL


class ClientTLS:
    """Begins handshakes. All connections share one context."""

    # Any: the interface of trust roots is private to Twisted.
    def __init__(self, authorities: Any = None) -> None:
        """``authorities``: the trusted ones as a trust root of Twisted, by default those of the system."""
        options = CertificateOptions(
            trustRoot=authorities or platformTrust(), raiseMinimumTo=TLSVersion.TLSv1_2
        )
        self._context = options.getContext()

    def handshake(self, host: str) -> "Handshake":
        """The handshake with ``host``, a name or an IP address."""
        return Handshake(self._context, host)


@implementer(IOpenSSLClientConnectionCreator)
class Handshake:
    """One handshake, for ``transport.startTLS``; afterwards what it has shown."""

    def __init__(self, context: SSL.Context, host: str) -> None:
        self._context = context
        self._host = host
        self._is_ip = isIPAddress(host) or isIPv6Address(host)
        self._connection: SSL.Connection | None = None
        self._untrusted = ""

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        self._connection = connection = SSL.Connection(self._context, None)
        if not self._is_ip:
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER, self._verified)
        return connection

    def _verified(
        self, connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int
    ) -> bool:
        if not ok and not self._untrusted:
            self._untrusted = EXPIRED if error == _HAS_EXPIRED else NOT_TRUSTED
        return True

    def problem(self) -> str:
        """The problem of the certificate as a result type of RFC 8460; "" if it is valid for the host."""
        connection = self._connection
        if connection is None or connection.get_peer_certificate(as_cryptography=True) is None:
            return FAILED
        if self._untrusted:
            return self._untrusted
        try:
            (verify_ip_address if self._is_ip else verify_hostname)(connection, self._host)
        except (VerificationError, CertificateError):
            return OTHER_HOST
        return ""

    def chain(self) -> Sequence[bytes]:
        """The certificates of the other server in DER, its own one first."""
        found: Any = self._connection and self._connection.get_peer_cert_chain(as_cryptography=True)
        return [certificate.public_bytes(Encoding.DER) for certificate in found or ()]
