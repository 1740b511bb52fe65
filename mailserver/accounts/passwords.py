"""Stored passwords: plain, or hashed in one of the ways that mail servers have used.

New passwords are hashed with argon2id. The crypt and LDAP forms are supported for accounts from other
servers. ``mail.schemes`` has the grammar.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import attrs
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

from mailserver.errors import AccountError
from mailserver.mail.schemes import SCHEMES, crypt_scheme, read_scheme

# hashlib's name of each digest. The salt follows the digest.
_SALTED = {"ssha1": "sha1", "ssha256": "sha256", "ssha512": "sha512"}
_DIGESTS = {**_SALTED, **{name: name for name in _SALTED.values()}}
_CRYPT = ("sha512_crypt", "sha256_crypt", "bcrypt", "md5_crypt", "apr_md5_crypt")
_DECODE: dict[str, Callable[[str], bytes]] = {
    "HEX": bytes.fromhex,
    "B64": lambda text: base64.b64decode(text, validate=True),
    "BASE64": lambda text: base64.b64decode(text, validate=True),
}
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_MOST_OF_BCRYPT = 72  # octets; bcrypt ignores the rest

_hasher = PasswordHasher()


@attrs.frozen
class StoredPassword:
    """A password in its stored form.

    ``scheme`` is "plain", "none", "argon2", passlib's name of a crypt form, or the name of a digest, whose
    ``value`` is base64: "sha256" and its like, or "ssha256" and its like with the salt at the end.
    """

    scheme: str
    value: str = attrs.field(repr=False)

    @classmethod
    def read(cls, text: str, default: str = "PLAIN") -> "StoredPassword":
        """Read a text in the notation of ``mail.schemes``; ``default`` as for ``read_scheme``.

        Raises :class:`~mailserver.errors.AccountError` for an unknown scheme or encoding, and for a value
        that does not have the named encoding.
        """
        written = read_scheme(text, default)
        scheme, value = written.scheme, written.value
        if written.encoding:
            value = _decoded(value, written.encoding, scheme)
        elif scheme in _DIGESTS and _HEX.fullmatch(value) and len(value) >= 2 * _size(scheme):
            # Like Dovecot: no base64 of a digest is that long and has only hexadecimal digits.
            value = _decoded(value, "HEX", scheme)
        if scheme == "crypt":
            scheme = crypt_scheme(value)
        return cls(scheme, value)

    @property
    def text(self) -> str:
        """The text that :meth:`read` turns into this value."""
        return next(
            (f"{{{name}}}{self.value}" for name, scheme in SCHEMES.items() if scheme == self.scheme),
            self.value,
        )

    @property
    def sound(self) -> bool:
        """Whether the value has the form of its scheme. If not, no password ever matches."""
        try:
            if self.scheme == "argon2":
                extract_parameters(self.value)
            elif self.scheme in _DIGESTS:
                digest, salt = self._digest()
                return len(digest) == _size(self.scheme) and (not salt or self.scheme in _SALTED)
            elif self.slow:
                return _passlib(self.scheme).from_string(self.value).checksum is not None
        except (ValueError, InvalidHashError):
            return False
        return True

    @property
    def slow(self) -> bool:
        """Whether a check takes long on purpose, and so belongs in a thread."""
        return self.scheme not in ("plain", "none")

    @property
    def outdated(self) -> bool:
        """True for all but argon2id with the parameters that :func:`hash_password` uses."""
        try:
            return self.scheme != "argon2" or _hasher.check_needs_rehash(self.value)
        except InvalidHashError:
            return True

    @property
    def kind(self) -> str:
        """The scheme with its parameters: passwords of one kind take the same time to verify."""
        parts = self.value.split("$")
        if self.scheme == "argon2":
            return "$".join(parts[:4])
        if self.scheme == "bcrypt" or "rounds=" in self.value:
            return "$".join(parts[:3])
        return self.scheme

    def verify(self, password: str) -> bool:
        """Whether ``password`` matches. A damaged hash matches no password."""
        try:
            return self._matches(password)
        except (ValueError, TypeError, Argon2Error, InvalidHashError):
            return False

    def _matches(self, password: str) -> bool:
        octets = password.encode()
        if self.scheme == "none":
            return False
        if self.scheme == "plain":
            return hmac.compare_digest(self.value.encode(), octets)
        if self.scheme == "argon2":
            return _hasher.verify(self.value, octets)
        if self.scheme in _DIGESTS:
            digest, salt = self._digest()
            return hmac.compare_digest(digest, hashlib.new(_DIGESTS[self.scheme], octets + salt).digest())
        if self.scheme == "bcrypt":
            octets = octets[:_MOST_OF_BCRYPT]
        return bool(_passlib(self.scheme).verify(octets, self.value))

    def _digest(self) -> tuple[bytes, bytes]:
        octets = base64.b64decode(self.value, validate=True)
        size = _size(self.scheme)
        return octets[:size], octets[size:]


def _size(scheme: str) -> int:
    return hashlib.new(_DIGESTS[scheme]).digest_size


def _decoded(value: str, encoding: str, scheme: str) -> str:
    """The value in the form that the scheme has without an encoding."""
    try:
        octets = _DECODE[encoding](value)
        return base64.b64encode(octets).decode() if scheme in _DIGESTS else octets.decode()
    except ValueError:
        raise AccountError(f"the text after the braces is not {encoding}") from None


@cache
def _passlib(scheme: str) -> Any:
    # Imported late: a server without such hashes starts faster.
    import passlib.hash

    handler = getattr(passlib.hash, scheme)
    if scheme == "bcrypt":
        return handler
    # passlib accepts only salts in the alphabet of crypt(3). libxcrypt, and so Dovecot, accepts any
    # characters, and hashes them in the same way.
    return type(f"{scheme}_with_any_salt", (handler,), {"salt_chars": None})


def load_schemes() -> None:
    """Import the modules for hashes of other servers now: after dropping privileges it may be impossible."""
    for scheme in _CRYPT:
        _passlib(scheme)


def hash_password(password: str) -> str:
    """An argon2id hash (RFC 9106)."""
    return _hasher.hash(password)
