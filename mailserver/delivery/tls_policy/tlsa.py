"""The check of a certificate chain against TLSA records, by the rules for SMTP (RFC 6698, RFC 7672).

    usage     2 DANE-TA: the record has an authority above the certificate; names and dates count
              3 DANE-EE: the record has the certificate; neither names nor dates count
              0, 1: not for SMTP, unusable
    selector  0 the certificate, 1 its public key
    matching  0 the octets, 1 their SHA-256, 2 their SHA-512

Nothing here knows connections. A chain has DER certificates, that of the server first.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256, sha512

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname

from mailserver.dns.records import TLSA

DANE_TA, DANE_EE = 2, 3
_CERTIFICATE, _PUBLIC_KEY = 0, 1
_DIGEST_LENGTHS = {1: 32, 2: 64}
_BROKEN_EXTENSIONS = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_MOST_CERTIFICATES = 20  # of a chain, and of records with a certificate


def is_usable(record: TLSA) -> bool:
    """Whether a record can match anything at all. Unusable records only say that TLS is there."""
    return (
        record.usage in (DANE_TA, DANE_EE)
        and record.selector in (_CERTIFICATE, _PUBLIC_KEY)
        and record.matching in (0, 1, 2)
        and len(record.data) == _DIGEST_LENGTHS.get(record.matching, len(record.data) or 1)
    )


def check_chain(records: Sequence[TLSA], names: Sequence[str], now: float, chain: Sequence[bytes]) -> str:
    """Check a chain against usable records. Returns "" or the reason why it matches none of them.

    ``names`` are the host names of which the certificate must have one, for DANE-TA. ``now`` is in seconds
    since the epoch.
    """
    chain = chain[:_MOST_CERTIFICATES]
    if not chain:
        return "the server has no certificate"
    if any(record.usage == DANE_EE and _matches(record, chain[0]) for record in records):
        return ""
    authorities = [record for record in records if record.usage == DANE_TA]
    if not authorities:
        return "no TLSA record matches the certificate"
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        anchors = [
            certificate
            for certificate, der in zip(certificates[1:], chain[1:], strict=True)
            if any(_matches(record, der) for record in authorities)
        ]
        anchors += [
            x509.load_der_x509_certificate(record.data)
            for record in authorities[:_MOST_CERTIFICATES]
            if (record.selector, record.matching) == (_CERTIFICATE, 0)
        ]
    except ValueError as error:
        return f"a certificate is malformed: {error}"
    if not anchors:
        return "no TLSA record matches a certificate of the chain"
    return _chain_problem(certificates, anchors, now) or _name_problem(certificates[0], names)


def _matches(record: TLSA, der: bytes) -> bool:
    selected = der if record.selector == _CERTIFICATE else _public_key(der)
    if selected is None:
        return False
    match record.matching:
        case 1:
            return sha256(selected).digest() == record.data
        case 2:
            return sha512(selected).digest() == record.data
    return selected == record.data


def _public_key(der: bytes) -> bytes | None:
    """The SubjectPublicKeyInfo of a certificate."""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None


def _chain_problem(
    certificates: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: float
) -> str:
    store = X509Store()
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)  # an anchor need not be at the top
    store.set_time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))
    for anchor in anchors:
        store.add_cert(X509.from_cryptography(anchor))
    first, *others = [X509.from_cryptography(certificate) for certificate in certificates]
    try:
        X509StoreContext(store, first, others).verify_certificate()
    except X509StoreContextError as error:
        return f"the chain to the authority of the TLSA record is broken: {error}"
    return ""


def _name_problem(certificate: x509.Certificate, names: Sequence[str]) -> str:
    for name in names:
        try:
            verify_certificate_hostname(certificate, name)
        except (VerificationError, CertificateError, ValueError, *_BROKEN_EXTENSIONS):
            continue
        return ""
    return f"the certificate is for other hosts than {' and '.join(names)}"
