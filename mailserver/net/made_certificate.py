"""Certificates for demos and tests, made at run time together with their CA (RFC 5280).

Clients that trust the CA can verify the certificates. All keys are on P-256, unless the caller has another.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailserver.net.pairs import Pair, PrivateKey

LIFE = timedelta(days=180)
DUE = timedelta(days=60)  # before the end
_NAME_LENGTH = 64  # RFC 5280 appendix A.1, ub-common-name
_NO_USAGE = dict.fromkeys(
    (
        "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
        "decipher_only", "digital_signature", "key_cert_sign", "crl_sign",
    ),
    False,
)  # fmt: skip


@attrs.frozen
class MadeCertificate:
    """PEM texts: the certificate of the CA, the one it has signed, and the key of the latter."""

    ca: bytes
    certificate: bytes
    private_key: bytes = attrs.field(repr=False)


class CertificateAuthority:
    """Signs certificates of servers. ``certificate`` is its own."""

    def __init__(self, name: str, now: float) -> None:
        """Make the key. The authority is valid from yesterday on; ``now`` is in seconds since the epoch."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        begins = datetime.fromtimestamp(now, UTC) - timedelta(days=1)
        self.certificate = (
            _builder(_name(name), _name(name), self._key, begins, begins + LIFE + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**{**_NO_USAGE, "key_cert_sign": True}), critical=True)
            .sign(self._key, SHA256())
        )

    def issue(
        self, names: Sequence[str], begins: datetime, ends: datetime, key: PrivateKey | None = None
    ) -> Pair:
        """A certificate for host names and IP addresses, at least one."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        authority_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = _server_builder(names, self.certificate.subject, key, begins, ends).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False
        )
        return Pair(builder.sign(self._key, SHA256()), (), key)


def self_signed(names: Sequence[str], begins: datetime, ends: datetime) -> Pair:
    """A certificate for host names and IP addresses, at least one, signed with its own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Pair(_server_builder(names, _name(names[0]), key, begins, ends).sign(key, SHA256()), (), key)


def make_certificate(names: Sequence[str], now: float) -> MadeCertificate:
    """A CA and a certificate for host names and IP addresses, at least one, valid from yesterday on.

    ``now`` is in seconds since the epoch. The key of the CA is discarded, so it signs nothing else.
    """
    authority = CertificateAuthority(f"CA made for {names[0]}", now)
    moment = datetime.fromtimestamp(now, UTC)
    pair = authority.issue(names, moment - timedelta(days=1), moment + LIFE)
    return MadeCertificate(
        authority.certificate.public_bytes(Encoding.PEM),
        pair.certificate.public_bytes(Encoding.PEM),
        pair.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def is_due(certificate: bytes, names: Sequence[str], now: float) -> bool:
    """Whether a certificate must be replaced: it expires soon, or is for other names."""
    try:
        made = x509.load_pem_x509_certificate(certificate)
        covered = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return True
    near = datetime.fromtimestamp(now, UTC) > made.not_valid_after_utc - DUE
    return near or list(covered) != [_general_name(name) for name in names]


def _server_builder(
    names: Sequence[str], issuer: x509.Name, key: PrivateKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        _builder(_name(names[0]), issuer, key, begins, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{**_NO_USAGE, "digital_signature": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_NAME_LENGTH])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
