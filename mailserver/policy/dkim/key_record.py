"""Public keys in DNS, and the values that they verify (RFC 6376 section 3.6.1, RFC 8301, RFC 8463).

    v=DKIM1  h=HASHES  k=KEY-TYPE  n=NOTES  p=KEY  s=SERVICES  t=FLAGS

The tag g= of RFC 4871 is obsolete and has no effect.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailserver.policy.dkim.results import UnusableSignature
from mailserver.policy.dkim.tags import read_base64, read_list, read_tags

REMEMBERED = 256  # keys; their records are short
MAX_REMEMBERED = 2048  # octets

MIN_RSA_BITS = 1024  # RFC 8301 section 3.2
MAX_RSA_BITS = 4096

_RSA_SHA256 = PKCS1v15(), Prehashed(SHA256())


@attrs.frozen
class DKIMKey:
    """A public key for mail. ``exact``: i= of its signatures has the domain of d= itself (t=s).

    ``key`` is an ``RSAPublicKey``, whose ``scheme`` is the padding and the hash, or an ``Ed25519PublicKey``.
    """

    key: Any
    scheme: tuple[Any, ...] = ()
    testing: bool = False
    exact: bool = False

    def verifies(self, value: bytes, digest: bytes) -> bool:
        """Whether ``value`` is the signature of data with this SHA-256 hash, which Ed25519 signs as it is."""
        try:
            self.key.verify(value, digest, *self.scheme)
        except InvalidSignature:
            return False
        return True


def choose_key(records: Sequence[bytes], algorithm: str) -> DKIMKey:
    """The first key of these TXT records that fits the algorithm of a signature.

    Raises :class:`UnusableSignature` with the reason for the last of them if none fits.
    """
    problem = UnusableSignature("permerror", "no key")
    for record in records:
        try:
            return (_remembered if len(record) <= MAX_REMEMBERED else read_key)(record, algorithm)
        except UnusableSignature as found:
            problem = found
    raise problem


def read_key(record: bytes, algorithm: str) -> DKIMKey:
    """The key in a TXT record, checked as section 6.1.2 says. Raises :class:`UnusableSignature`."""
    try:
        tags = read_tags(record)
    except ValueError:
        raise UnusableSignature("permerror", "malformed key record") from None
    if "v" in tags and (tags["v"] != b"DKIM1" or next(iter(tags)) != "v"):
        raise UnusableSignature("permerror", "key record of another version")
    if "p" not in tags:
        raise UnusableSignature("permerror", "malformed key record")
    kind, _, hash_name = algorithm.encode().partition(b"-")
    if "h" in tags and hash_name not in read_list(tags["h"]):
        raise UnusableSignature("permerror", "key is for another hash algorithm")
    if tags.get("k", b"rsa").lower() != kind:
        raise UnusableSignature("permerror", "key is for another algorithm")
    if not {b"*", b"email"} & set(read_list(tags.get("s", b"*"))):
        raise UnusableSignature("permerror", "key is not for mail")
    if not tags["p"]:
        raise UnusableSignature("permerror", "key is revoked")
    flags = read_list(tags.get("t", b""))
    scheme = _RSA_SHA256 if kind == b"rsa" else ()
    return DKIMKey(_public_key(tags, kind), scheme, testing=b"y" in flags, exact=b"s" in flags)


_remembered = lru_cache(REMEMBERED)(read_key)


def _public_key(tags: Mapping[str, bytes], kind: bytes) -> RSAPublicKey | Ed25519PublicKey:
    try:
        octets = read_base64(tags["p"])
        if kind == b"ed25519":
            return Ed25519PublicKey.from_public_bytes(octets)
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableSignature("permerror", "malformed key") from None
    if not isinstance(key, RSAPublicKey):
        raise UnusableSignature("permerror", "key is for another algorithm")
    if key.key_size < MIN_RSA_BITS:
        raise UnusableSignature("policy", f"RSA key of {key.key_size} bits is too weak")
    if key.key_size > MAX_RSA_BITS:
        raise UnusableSignature("policy", f"RSA key of {key.key_size} bits is too long")
    return key
