"""Certificates with their private keys: they are read from PEM files, checked, and matched with names.

Problems have the form of configuration errors. ``tls`` has the handshakes, ``certificates`` the renewal. RFC
5280 (certificates), RFC 7468 (their files), RFC 9525 section 6.3 (wildcards).
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509, Error

from mailserver.errors import MailserverError

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey
PairProblem = tuple[str, str]  # the dotted configuration key, and the problem

RSA_BITS = 2048  # minimum
CURVES = ("secp256r1", "secp384r1", "secp521r1")  # those of RFC 8446 section 4.2.3
_LONGEST = 1024 * 1024  # maximum octets of a file
_OTHERS_READ = 0o004
_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion, Error)
_ALLOWED_KEYS = f"allowed: RSA of {RSA_BITS} bits or more, EC on P-256, P-384 or P-521, Ed25519, Ed448"


class Unusable(MailserverError):
    """Files that cannot be used for TLS. ``problems`` has at least one entry."""

    def __init__(self, problems: Sequence[PairProblem]) -> None:
        super().__init__("; ".join(f"{key}: {text}" for key, text in problems))
        self.problems = tuple(problems)


@attrs.frozen
class PairFiles:
    """The files of a pair. ``key`` is the table in the configuration, such as "certificate[1]".

    ``kept`` has the contents of both, which are used while the process may not read the private key.
    """

    key: str
    certificate: Path
    private_key: Path
    kept: tuple[bytes, bytes] | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return (self.certificate, self.private_key)


@attrs.frozen
class Pair:
    """A certificate, its chain, and its private key."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    private_key: PrivateKey = attrs.field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names of its subjectAltName, in lower case. The first label may be "*"."""
        return names_of(self.certificate)

    def days_left(self, now: float) -> float:
        """The days until its end. ``now`` is in seconds since the epoch."""
        return (self.certificate.not_valid_after_utc.timestamp() - now) / 86400

    @property
    def lifetime(self) -> float:
        """The days from the beginning to the end of its validity."""
        first, last = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return (last - first).total_seconds() / 86400

    def date_problem(self, now: float, days: float = 0) -> str | None:
        """The problem with its dates, also if it ends within this number of ``days``; None without one."""
        first, last = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        left = self.days_left(now)
        if left < 0:
            return f"the certificate has expired on {last:%Y-%m-%d %H:%M} UTC"
        if now < first.timestamp():
            return f"the certificate is not valid before {first:%Y-%m-%d %H:%M} UTC"
        if left <= days:
            hours = int(left * 24)
            text = f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
            return f"the certificate expires in {text}, on {last:%Y-%m-%d %H:%M} UTC"
        return None


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate's subjectAltName, in lower case."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.value.get_values_for_type(x509.DNSName))


def by_name(pairs: Sequence[Pair]) -> Mapping[str, int]:
    """The number of the first pair for each name."""
    found: dict[str, int] = {}
    for number, pair in enumerate(pairs):
        for name in pair.names:
            found.setdefault(name, number)
    return found


def number_for(name: bytes | None, numbers: Mapping[str, int]) -> int:
    """The number of the pair for a client that asks for ``name`` (RFC 6066 section 3); 0 if none matches."""
    if name is None:
        return 0
    text = name.decode("ascii", "replace").lower()
    number = numbers.get(text)
    if number is None:
        number = numbers.get(f"*.{text.partition('.')[2]}", 0)
    return number


# ------------------------------------------------------------ reading


def read_pair(files: PairFiles) -> Pair:
    """Read a pair and check that TLS can use it. Raises :class:`Unusable` with all problems."""
    problems: list[PairProblem] = []
    certificates: tuple[x509.Certificate, ...] = ()
    private_key: PrivateKey | None = None
    kept = None if os.access(files.private_key, os.R_OK) else files.kept
    with _noted(f"{files.key}.certificate", problems):
        certificates = _certificates(files.certificate, kept and kept[0])
    with _noted(f"{files.key}.private_key", problems):
        private_key = _private_key(files.private_key, kept and kept[1])
    if private_key is not None and certificates:
        pair = Pair(certificates[0], certificates[1:], private_key)
        with _noted(f"{files.key}.private_key", problems):
            _check_belongs(pair, files)
        if not problems:
            with _noted(f"{files.key}.certificate", problems):
                _try_out(pair, files)
        if not problems:
            return pair
    raise Unusable(problems)


def read_authorities(key: str, path: Path) -> tuple[x509.Certificate, ...]:
    """Read the authorities of client certificates. Raises :class:`Unusable`."""
    problems: list[PairProblem] = []
    with _noted(key, problems):
        return _certificates(path)
    raise Unusable(problems)


class _Wrong(Exception):
    """A problem with one file."""


@contextlib.contextmanager
def _noted(key: str, problems: list[PairProblem]) -> Iterator[None]:
    try:
        yield
    except _Wrong as error:
        problems.append((key, str(error)))


def _certificates(path: Path, kept: bytes | None = None) -> tuple[x509.Certificate, ...]:
    """The certificates of a file, at least one. ``kept`` stands for its content."""
    content = _content(path) if kept is None else kept
    try:
        certificates = tuple(x509.load_pem_x509_certificates(content))
        for certificate in certificates:
            certificate.public_key()
            names_of(certificate)
            X509.from_cryptography(certificate)  # OpenSSL is stricter here and there
    except _UNREADABLE as error:
        raise _Wrong(f'"{path}" has no certificates in the PEM format: {_first_line(error)}') from error
    return certificates


def _private_key(path: Path, kept: bytes | None) -> PrivateKey:
    content = _content(path, private=True) if kept is None else kept
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise _Wrong(f'the key in "{path}" is encrypted; allowed: one that needs no password') from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # The error of the library might contain parts of the key.
        raise _Wrong(f'"{path}" has no private key in the PEM format') from error
    if isinstance(key, RSAPrivateKey):
        what = f"RSA of {key.key_size} bits" if key.key_size < RSA_BITS else ""
    elif isinstance(key, EllipticCurvePrivateKey):
        what = f"on the curve {key.curve.name}" if key.curve.name not in CURVES else ""
    else:
        what = "" if isinstance(key, Ed25519PrivateKey | Ed448PrivateKey) else "of another kind"
    if what:
        raise _Wrong(f'the key in "{path}" is {what}; {_ALLOWED_KEYS}')
    return cast(PrivateKey, key)


def _content(path: Path, *, private: bool = False) -> bytes:
    """The content of a file. A ``private`` one must not be readable for everybody."""
    try:
        # A FIFO must not block the server.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise _Wrong(f'"{path}" is not a regular file')
            if private and mode & _OTHERS_READ:
                raise _Wrong(
                    f'everybody can read the private key in "{path}", its mode is {stat.S_IMODE(mode):04o}; '
                    "allowed: readable for its owner, and for its group"
                )
            return os.read(descriptor, _LONGEST)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _Wrong(f'cannot read "{path}": {error.strerror}') from error


def _check_belongs(pair: Pair, files: PairFiles) -> None:
    if pair.certificate.public_key() != pair.private_key.public_key():
        raise _Wrong(
            f'the key in "{files.private_key}" does not belong to the first certificate in '
            f'"{files.certificate}"'
        )


def _try_out(pair: Pair, files: PairFiles) -> None:
    """Load the pair into OpenSSL, which rejects signatures with SHA-1, for example."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    try:
        context.use_certificate(pair.certificate)
        context.use_privatekey(pair.private_key)
        for certificate in pair.chain:
            context.add_extra_chain_cert(certificate)
        context.check_privatekey()
    except SSL.Error as error:
        reasons = ", ".join(reason for _, _, reason in error.args[0])
        raise _Wrong(f'OpenSSL refuses the certificate in "{files.certificate}": {reasons}') from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
