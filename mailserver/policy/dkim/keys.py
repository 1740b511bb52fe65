"""Makes and reads the private keys that sign mail, and writes the DNS records of their public keys.

RSA keys have 2048 bits, which every verifier takes (RFC 8301 section 3.2). Ed25519 keys are short and fast,
and not every verifier knows them yet (RFC 8463). Keys are PEM: PKCS #8, or PKCS #1 for RSA, without a
password.
"""

import base64
from typing import Literal, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailserver.policy.dkim.key_record import MAX_RSA_BITS, MIN_RSA_BITS

SigningKey: TypeAlias = RSAPrivateKey | Ed25519PrivateKey
KeyKind = Literal["rsa", "ed25519"]

RSA_BITS = 2048
_STRING = 255  # octets of one string of a TXT record (RFC 1035 section 3.3)


def make_key(kind: KeyKind) -> SigningKey:
    """A new key. To make an RSA key takes about 0.1 seconds."""
    return generate_private_key(65537, RSA_BITS) if kind == "rsa" else Ed25519PrivateKey.generate()


def write_pem(key: SigningKey) -> bytes:
    """The key as PEM (PKCS #8), without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_pem(pem: bytes) -> SigningKey:
    """The key in a PEM file. Raises ``ValueError`` if it is none that can sign mail."""
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise ValueError("the key has a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the file has no private key in PEM") from None
    if isinstance(key, RSAPrivateKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            limits = f"{MIN_RSA_BITS} to {MAX_RSA_BITS}"
            raise ValueError(f"the RSA key has {key.key_size} bits; allowed: {limits}")
        return key
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the key is neither RSA nor Ed25519")
    return key


def kind_of(key: SigningKey) -> KeyKind:
    """The value of k= for a key."""
    return "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"


def key_record(key: SigningKey) -> str:
    """The text of the DNS record with the public key (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
    octets = public_octets(key.public_key())
    return f"v=DKIM1; k={kind_of(key)}; p={base64.b64encode(octets).decode()}"


def public_octets(key: RSAPublicKey | Ed25519PublicKey) -> bytes:
    """The octets of a public key, as p= has them in base64."""
    if isinstance(key, RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def record_strings(record: str) -> tuple[str, ...]:
    """The strings of a TXT record with this text, each of at most 255 octets."""
    return tuple(record[at : at + _STRING] for at in range(0, len(record), _STRING))
