"""Certificate authorities, certificates and keys for tests, made when they are needed.

Not from the product: tests must be able to make what it would not.
"""

import ipaddress
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

_numbers = itertools.count(1)


@attrs.frozen
class Issued:
    """A certificate and its key as PEM files; ``certificate`` has those that lead to the root, too."""

    certificate: Path
    private_key: Path

    @property
    def der(self) -> bytes:
        """The first certificate."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(Encoding.DER)

    def put(self, certificate: Path, private_key: Path) -> None:
        """Write copies of both files over others, the certificate first."""
        certificate.write_bytes(self.certificate.read_bytes())
        private_key.write_bytes(self.private_key.read_bytes())
        private_key.chmod(0o600)


class Authority:
    """Signs certificates. ``path`` is its own, PEM; all files are in ``folder``."""

    def __init__(
        self, folder: Path, key: Key, certificate: x509.Certificate, above: Sequence[x509.Certificate] = ()
    ) -> None:
        self.folder = folder
        self.certificate = certificate
        self.path = folder / f"ca-{next(_numbers)}.pem"
        self.path.write_bytes(certificate.public_bytes(Encoding.PEM))
        self._key = key
        self._above = tuple(above)

    def issue(
        self,
        *names: str,
        mail: Sequence[str] = (),
        utf8_mail: Sequence[str] = (),
        subject_mail: str = "",
        key: Key | None = None,
        algorithm: Hash | None = None,
        begins: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=30),
    ) -> Issued:
        """A certificate for DNS names and IP addresses, or for a client with mail addresses.

        ``begins`` and ``ends`` count from now.
        """
        key = key or make_key()
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, (names or ("a client",))[0][:64])]
        if subject_mail:
            subject.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, subject_mail))
        builder = (
            _builder(x509.Name(subject), self.certificate.subject, key, begins, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.certificate.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
        )
        alternatives: list[x509.GeneralName] = [
            *(_host(name) for name in names),
            *(x509.RFC822Name(address) for address in mail),
            *(_smtp_utf8_mailbox(address) for address in utf8_mail),
        ]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = _signed(builder, self._key, algorithm)
        number = next(_numbers)
        chain = (certificate, *self._above)
        issued = Issued(self.folder / f"certificate-{number}.pem", self.folder / f"key-{number}.pem")
        issued.certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        write_key(issued.private_key, key)
        return issued

    def intermediate(self) -> "Authority":
        """An authority that this one has signed; what it issues comes with its own certificate."""
        key = make_key()
        builder = _authority_builder(f"intermediate CA {next(_numbers)}", self.certificate.subject, key)
        certificate = _signed(builder, self._key)
        return Authority(self.folder, key, certificate, (certificate, *self._above))


def make_ca(folder: Path) -> Authority:
    """A new authority that has signed itself."""
    key = make_key()
    name = f"CA {next(_numbers)}"
    builder = _authority_builder(name, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
    return Authority(folder, key, _signed(builder, key))


def make_key() -> ec.EllipticCurvePrivateKey:
    """A key on P-256, which takes no time to make."""
    return ec.generate_private_key(ec.SECP256R1())


def write_key(path: Path, key: Key, mode: int = 0o600) -> None:
    """Write a key as PEM."""
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(mode)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, begins: timedelta, ends: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_builder(name: str, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    return (
        _builder(subject, issuer, key, timedelta(days=-1), timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )


def _signed(builder: x509.CertificateBuilder, key: Key, algorithm: Hash | None = None) -> x509.Certificate:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return builder.sign(key, None)
    return builder.sign(key, algorithm or hashes.SHA256())


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _smtp_utf8_mailbox(address: str) -> x509.OtherName:
    text = address.encode()
    length = bytes([len(text)]) if len(text) < 128 else b"\x81" + bytes([len(text)])
    return x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), b"\x0c" + length + text)
