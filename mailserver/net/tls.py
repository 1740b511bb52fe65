"""TLS for servers: how handshakes are made, and what a connection says about itself afterwards.

Which certificates are shown is decided in ``certificates``. Twisted's ``CertificateOptions`` makes the
contexts: TLS 1.2 or later, ephemeral keys and AEAD ciphers only (RFC 9325), no compression. It leaves
the groups to OpenSSL, whose own choice begins with X25519, since 3.5 in its hybrid form with ML-KEM.
Server names are RFC 6066 section 3; channel bindings RFC 9266 (tls-exporter) and RFC 5929.

Sessions are resumed in TLS 1.3 alone, by tickets that the server does not keep. A ticket of TLS 1.2
holds the keys of the connection that it was given out on, and a resumed session makes ``tls-unique``
worthless (RFC 7627 section 1). The keys of tickets belong to a context and die with it: each service has
its own, and takes no tickets of another; a renewed certificate begins with new ones.
"""

from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion

from mailserver.net.pairs import Pair, by_name, number_for

# The best first. For TLS 1.2; of TLS 1.3 OpenSSL has none that would not do.
CIPHERS = AcceptableCiphers.fromOpenSSLCipherString(
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)
_SMTP_UTF8_MAILBOX = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")  # RFC 9598
_UTF8_STRING = 0x0C  # its tag in DER


def server_options(pairs: Sequence[Pair], authorities: Sequence[x509.Certificate] = ()) -> CertificateOptions:
    """What ``transport.startTLS`` needs on a server; good for any number of connections.

    Every call makes contexts of their own, with keys for tickets that no other takes.
    The client is shown the pair of the name that it asks for, or else the first. With ``authorities``
    it is asked for a certificate: it may have none, but one that they have not signed ends the handshake.
    """
    options = [_options(pair, authorities) for pair in pairs]
    numbers = by_name(pairs)
    first = options[0].getContext()
    others = {number: options[number].getContext() for number in range(1, len(options))}

    def named(connection: SSL.Connection) -> None:
        """OpenSSL calls this for each ClientHello, when the version of TLS is settled."""
        if connection.get_protocol_version() < SSL.TLS1_3_VERSION:
            connection.set_options(SSL.OP_NO_TICKET)
        context = others.get(number_for(connection.get_servername(), numbers))
        if context is not None:
            connection.set_context(context)

    first.set_tlsext_servername_callback(named)
    return options[0]


def _options(pair: Pair, authorities: Sequence[x509.Certificate]) -> CertificateOptions:
    # Twisted's annotations know pyOpenSSL's own classes alone, which pyOpenSSL itself advises against.
    certificate: Any = pair.certificate
    private_key: Any = pair.private_key
    chain: Any = list(pair.chain)
    options = CertificateOptions(
        privateKey=private_key,
        certificate=certificate,
        extraCertChain=chain,
        acceptableCiphers=CIPHERS,
        raiseMinimumTo=TLSVersion.TLSv1_2,
        enableSessionTickets=True,
        verify=bool(authorities),
        caCerts=[X509.from_cryptography(authority) for authority in authorities],
        requireCertificate=False,
    )
    # The rest is beyond CertificateOptions, which makes the context only when it is asked for.
    context = options.getContext()
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    # Without this a client that offers protocols (RFC 7301) is sent away with an internal error.
    context.set_alpn_select_callback(lambda connection, offered: SSL.NO_OVERLAPPING_PROTOCOLS)
    for authority in authorities:
        context.add_client_ca(authority)
    return options


# ------------------------------------------------------------ a connection after its handshake


def description(connection: SSL.Connection) -> str:
    """The version and the cipher, such as "TLSv1.3 with TLS_AES_256_GCM_SHA384"."""
    return f"{connection.get_protocol_version_name()} with {connection.get_cipher_name()}"


def binding(connection: SSL.Connection, kind: str) -> bytes | None:
    """The channel binding of this ``kind``, None if the connection has none.

    "tls-exporter" belongs to TLS 1.3 (before, it would need the extended master secret, and pyOpenSSL
    does not tell), "tls-unique" to TLS 1.2 (RFC 9266 section 3), "tls-server-end-point" to both.
    """
    tls13 = connection.get_protocol_version() >= SSL.TLS1_3_VERSION
    match kind:
        case "tls-exporter" if tls13:
            return connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        case "tls-unique" if not tls13:
            # The first Finished message: the client's, as no session of TLS 1.2 is resumed.
            return connection.get_peer_finished()
        case "tls-server-end-point":
            certificate = connection.get_certificate(as_cryptography=True)
            return None if certificate is None else _end_point(certificate)
    return None


def _end_point(certificate: x509.Certificate) -> bytes | None:
    """The hash of a certificate by RFC 5929 section 4.1, which leaves it undefined for Ed25519 and such."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    return certificate.fingerprint(hashes.SHA256() if algorithm.name in ("md5", "sha1") else algorithm)


def peer_addresses(connection: SSL.Connection) -> tuple[str, ...]:
    """The mail addresses in the certificate that the client has shown and OpenSSL has verified.

    Those of its subjectAltName (RFC 5280 section 4.2.1.6, RFC 9598), or else those of its subject.
    Nobody has looked at whether they are addresses.
    """
    if not connection.get_verify_mode() & SSL.VERIFY_PEER:
        return ()
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return ()
    try:
        return _alternative_addresses(certificate) or _subject_addresses(certificate)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()


def _alternative_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    others = (
        _utf8_string(other.value)
        for other in names.get_values_for_type(x509.OtherName)
        if other.type_id == _SMTP_UTF8_MAILBOX
    )
    return (*names.get_values_for_type(x509.RFC822Name), *others)


def _subject_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    attributes = certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
    return tuple(str(attribute.value) for attribute in attributes)


def _utf8_string(der: bytes) -> str:
    """The text of a UTF8String of DER. Raises ValueError."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise ValueError("no UTF8String")
    start = 2 if der[1] < 0x80 else 2 + (der[1] & 0x7F)
    length = der[1] if der[1] < 0x80 else int.from_bytes(der[2:start], "big")
    if len(der) != start + length:
        raise ValueError("a UTF8String of another length")
    return der[start:].decode("utf-8")
