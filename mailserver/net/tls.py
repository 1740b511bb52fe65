"""TLS for servers: contexts for handshakes, and facts about a connection after its handshake.

``certificates`` selects the certificates. ``CertificateOptions`` of Twisted makes the contexts: TLS 1.2 or
later, ephemeral keys and AEAD ciphers only (RFC 9325), no compression. OpenSSL selects the groups. It
prefers X25519, since version 3.5 in hybrid form with ML-KEM. Server names are RFC 6066 section 3; channel
bindings RFC 9266 (tls-exporter) and RFC 5929.

Sessions are resumed only in TLS 1.3, by tickets that the server does not store. A ticket of TLS 1.2 contains
the keys of its connection, and a resumed session makes ``tls-unique`` worthless (RFC 7627 section 1). Each
context has its own ticket keys: a service does not accept the tickets of another one, and a renewed
certificate has new keys.
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

# For TLS 1.2, the best first. All ciphers of TLS 1.3 in OpenSSL are good.
CIPHERS = AcceptableCiphers.fromOpenSSLCipherString(
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)
_SMTP_UTF8_MAILBOX = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")  # RFC 9598
_UTF8_STRING = 0x0C  # its tag in DER


def server_options(pairs: Sequence[Pair], authorities: Sequence[x509.Certificate] = ()) -> CertificateOptions:
    """The options for ``transport.startTLS`` on a server, for any number of connections.

    Each call makes new contexts with new ticket keys. The client gets the pair of the name that it asks for,
    or else the first pair. With ``authorities`` it is asked for a certificate: it may have none, but a
    certificate that they have not signed ends the handshake.
    """
    options = [_options(pair, authorities) for pair in pairs]
    numbers = by_name(pairs)
    first = options[0].getContext()
    others = {number: options[number].getContext() for number in range(1, len(options))}

    def named(connection: SSL.Connection) -> None:
        """OpenSSL calls this for each ClientHello, after it has selected the version of TLS."""
        if connection.get_protocol_version() < SSL.TLS1_3_VERSION:
            connection.set_options(SSL.OP_NO_TICKET)
        context = others.get(number_for(connection.get_servername(), numbers))
        if context is not None:
            connection.set_context(context)

    first.set_tlsext_servername_callback(named)
    return options[0]


def _options(pair: Pair, authorities: Sequence[x509.Certificate]) -> CertificateOptions:
    # The annotations of Twisted have only the classes of pyOpenSSL, which are deprecated.
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
    # CertificateOptions cannot set the rest.
    context = options.getContext()
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    # Without this a client that offers protocols (RFC 7301) gets an internal error.
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

    "tls-exporter" is for TLS 1.3 (in TLS 1.2 it would need the extended master secret, which pyOpenSSL does
    not report), "tls-unique" for TLS 1.2 (RFC 9266 section 3), "tls-server-end-point" for both.
    """
    tls13 = connection.get_protocol_version() >= SSL.TLS1_3_VERSION
    match kind:
        case "tls-exporter" if tls13:
            return connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        case "tls-unique" if not tls13:
            # The first Finished message is that of the client, since sessions of TLS 1.2 are not resumed.
            return connection.get_peer_finished()
        case "tls-server-end-point":
            certificate = connection.get_certificate(as_cryptography=True)
            return None if certificate is None else _end_point(certificate)
    return None


def _end_point(certificate: x509.Certificate) -> bytes | None:
    """The hash of a certificate by RFC 5929 section 4.1; None for Ed25519 and others without a definition."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    return certificate.fingerprint(hashes.SHA256() if algorithm.name in ("md5", "sha1") else algorithm)


def peer_addresses(connection: SSL.Connection) -> tuple[str, ...]:
    """The mail addresses in the verified certificate of the client.

    They come from its subjectAltName (RFC 5280 section 4.2.1.6, RFC 9598), or else from its subject. Their
    syntax is not checked.
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
