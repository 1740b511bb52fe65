"""Reads a signature: the tags of DKIM-Signature and ARC-Message-Signature (RFC 6376 section 3.5).

    v=1  a=ALGORITHM  b=VALUE  bh=BODY-HASH  c=HEADER/BODY  d=DOMAIN  h=FIELDS  i=IDENTITY  l=OCTETS
    q=dns/txt  s=SELECTOR  t=SECONDS  x=SECONDS  z=COPIED-FIELDS

ARC has no v=, and its i= is a number (RFC 8617 section 4.1.2).
"""

import re
from collections.abc import Mapping

import attrs

from mailserver.errors import AddressError
from mailserver.mail.address import parse_domain
from mailserver.policy.dkim.body import BodyForm
from mailserver.policy.dkim.results import UnusableSignature
from mailserver.policy.dkim.tags import read_base64, read_list, read_number

CLOCK_SKEW = 300
"""How much the clocks of signers may be wrong, in seconds."""

ALGORITHMS = frozenset({"rsa-sha256", "ed25519-sha256"})
# The usual names have underscores beside the letters, digits and hyphens of the grammar.
_SELECTOR = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_MAX_NAME = 253  # octets of a domain name


@attrs.frozen(kw_only=True)
class Signature:
    """A signature that can be checked.

    ``domain`` and ``selector`` consist of A-labels in lower case. ``identity`` is as in the signature.
    ``fields`` are the names of the signed fields in lower case. ``value`` and ``body_hash`` are octets.
    """

    algorithm: str
    domain: str
    selector: str
    identity: str
    fields: tuple[bytes, ...]
    relaxed_header: bool
    body: BodyForm
    body_hash: bytes
    value: bytes

    @property
    def key_name(self) -> str:
        """The domain name of the key record (section 3.6.2.1)."""
        return key_name(self.selector, self.domain)


def key_name(selector: str, domain: str) -> str:
    """The domain name of the record of a key."""
    return f"{selector}._domainkey.{domain}"


def read_signature(tags: Mapping[str, bytes], now: float) -> Signature:
    """The signature with these tags of DKIM-Signature, checked as section 6.1.1 says.

    ``now`` is in seconds since the epoch. Raises :class:`UnusableSignature`.
    """
    require(tags, "v", "a", "b", "bh", "d", "h", "s")
    if tags["v"] != b"1":
        raise UnusableSignature("permerror", "incompatible version")
    domain = read_domain(tags)
    signature = read_message_signature(tags, identity_of(tags, domain), now)
    if b"from" not in signature.fields:
        raise UnusableSignature("permerror", "From is not signed")
    return signature


def read_message_signature(tags: Mapping[str, bytes], identity: str, now: float) -> Signature:
    """The signature with these tags, whatever its version and its i=. Raises :class:`UnusableSignature`."""
    algorithm, selector = read_algorithm(tags), read_selector(tags)
    if b"dns/txt" not in read_list(tags.get("q", b"dns/txt")):
        raise UnusableSignature("permerror", "no known query method")
    relaxed_header, relaxed_body = _canonicalization(tags)
    check_times(tags, now)
    try:
        length = read_number(tags["l"]) if "l" in tags else None
        body_hash, value = read_base64(tags["bh"]), read_base64(tags["b"])
    except ValueError:
        raise UnusableSignature("neutral", "malformed l=, bh= or b=") from None
    return Signature(
        algorithm=algorithm,
        domain=read_domain(tags),
        selector=selector,
        identity=identity,
        fields=read_list(tags["h"]),
        relaxed_header=relaxed_header,
        body=BodyForm(relaxed_body, length),
        body_hash=body_hash,
        value=value,
    )


def require(tags: Mapping[str, bytes], *names: str) -> None:
    """Raise :class:`UnusableSignature` if a tag is missing."""
    for name in names:
        if name not in tags:
            raise UnusableSignature("permerror", f"missing {name}=")


def read_algorithm(tags: Mapping[str, bytes]) -> str:
    """The value of a=. Raises :class:`UnusableSignature`, also for SHA-1 (RFC 8301 section 3.1)."""
    algorithm = tags["a"].decode("latin-1").lower()
    if algorithm == "rsa-sha1":
        raise UnusableSignature("permerror", "obsolete algorithm rsa-sha1")
    if algorithm not in ALGORITHMS:
        raise UnusableSignature("permerror", "unknown algorithm")
    return algorithm


def read_domain(tags: Mapping[str, bytes]) -> str:
    """The value of d= in A-labels. Raises :class:`UnusableSignature`."""
    try:
        domain = parse_domain(tags["d"].decode())
    except (AddressError, UnicodeDecodeError):
        domain = "["
    if domain.startswith("[") or "." not in domain or len(domain) > _MAX_NAME:
        raise UnusableSignature("neutral", "malformed d=")
    return domain


def read_selector(tags: Mapping[str, bytes]) -> str:
    """The value of s= in A-labels. Raises :class:`UnusableSignature`."""
    try:
        selector = tags["s"].decode().lower()
        if not selector.isascii():
            selector = parse_domain(selector)
    except (AddressError, UnicodeDecodeError):
        selector = ""
    if not _SELECTOR.fullmatch(selector) or len(selector) > _MAX_NAME:
        raise UnusableSignature("neutral", "malformed s=")
    return selector


def identity_of(tags: Mapping[str, bytes], domain: str) -> str:
    """The value of i=, by default the domain. Raises :class:`UnusableSignature` if it is not below d=."""
    if "i" not in tags:
        return f"@{domain}"
    try:
        identity = tags["i"].decode()
        within = parse_domain(identity.rpartition("@")[2])
    except (AddressError, UnicodeDecodeError):
        raise UnusableSignature("neutral", "malformed i=") from None
    if "@" not in identity:
        raise UnusableSignature("neutral", "malformed i=")
    if within != domain and not within.endswith(f".{domain}"):
        raise UnusableSignature("permerror", "i= is not within d=")
    return identity


def _canonicalization(tags: Mapping[str, bytes]) -> tuple[bool, bool]:
    header, _, body = tags.get("c", b"simple").lower().partition(b"/")
    body = body or b"simple"
    if not {header, body} <= {b"simple", b"relaxed"}:
        raise UnusableSignature("permerror", "unknown canonicalization")
    return header == b"relaxed", body == b"relaxed"


def check_times(tags: Mapping[str, bytes], now: float) -> None:
    """Raise :class:`UnusableSignature` if t= is in the future, or x= in the past or before t=."""
    try:
        signed = read_number(tags["t"]) if "t" in tags else None
        expires = read_number(tags["x"]) if "x" in tags else None
    except ValueError:
        raise UnusableSignature("neutral", "malformed t= or x=") from None
    if signed is not None and expires is not None and expires < signed:
        raise UnusableSignature("neutral", "x= is before t=")
    if signed is not None and signed > now + CLOCK_SKEW:
        raise UnusableSignature("fail", "signed in the future")
    if expires is not None and expires < now - CLOCK_SKEW:
        raise UnusableSignature("fail", "signature has expired")
