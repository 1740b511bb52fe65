"""Stored passwords: plain, or hashed in one of the ways that mail servers have used.

``$argon2id$`` is the one to use; the crypt and LDAP forms are read so that accounts of other
servers can be taken over. A prefix in braces names the scheme, as ``doveadm pw`` writes it.

    password = "{" scheme [ "." encoding ] "}" value / crypt / plain
    encoding = "HEX" / "B64" / "BASE64"
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any

import attrs
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

from mailserver.errors import AccountError

# What a scheme in braces is kept as: hashlib's name of a digest, passlib's of a crypt form, or as below.
_SCHEMES = {
    "ARGON2ID": "argon2",
    "ARGON2I": "argon2",
    "SHA512-CRYPT": "sha512_crypt",
    "SHA256-CRYPT": "sha256_crypt",
    "BLF-CRYPT": "bcrypt",
    "MD5-CRYPT": "md5_crypt",
    "CRYPT": "crypt",
    "SSHA512": "sha512",
    "SSHA256": "sha256",
    "SSHA": "sha1",
    "SHA512": "sha512",
    "SHA256": "sha256",
    "SHA1": "sha1",
    "SHA": "sha1",
    "PLAIN": "plain",
    "CLEARTEXT": "plain",
    "CLEAR": "plain",
    "NONE": "none",
}
SCHEMES = tuple(_SCHEMES)
"""The names that may stand in braces."""

# Without braces these tell themselves. What htpasswd writes is apr1.
_CRYPT = {
    "$argon2": "argon2",
    "$6$": "sha512_crypt",
    "$5$": "sha256_crypt",
    "$2": "bcrypt",
    "$1$": "md5_crypt",
    "$apr1$": "apr_md5_crypt",
}
_DIGESTS = {"sha1": "{SSHA}", "sha256": "{SSHA256}", "sha512": "{SSHA512}"}
_DECODE: dict[str, Callable[[str], bytes]] = {
    "HEX": bytes.fromhex,
    "B64": lambda text: base64.b64decode(text, validate=True),
    "BASE64": lambda text: base64.b64decode(text, validate=True),
}
_BRACES = re.compile(r"\{([A-Z0-9.-]+)\}")
_MOST_OF_BCRYPT = 72  # octets that it looks at

_hasher = PasswordHasher()


@attrs.frozen
class StoredPassword:
    """A password as it is kept.

    ``scheme`` is "plain", "none", "argon2", hashlib's name of a digest whose base64 ``value`` may
    have a salt at its end, or passlib's name of a crypt form.
    """

    scheme: str
    value: str = attrs.field(repr=False)

    @classmethod
    def read(cls, text: str) -> "StoredPassword":
        """Tell the scheme by its prefix; without a known one the text is the password itself.

        Raises :class:`~mailserver.errors.AccountError` for a scheme or an encoding that is not known,
        and for what is not of the encoding that it names.
        """
        match = _BRACES.match(text)
        if match is None:
            return cls(_crypt(text) or "plain", text)
        name, _, encoding = match[1].partition(".")
        scheme, value = _SCHEMES.get(name), text[match.end() :]
        if scheme is None or (encoding and encoding not in _DECODE):
            raise AccountError(
                f"the password scheme {{{match[1]}}} is not known; known: {', '.join(SCHEMES)}, "
                f"each also with .HEX, .B64 or .BASE64"
            )
        if encoding:
            value = _decoded(value, encoding, scheme)
        if scheme == "crypt":
            scheme = _crypt(value)
            if scheme is None:
                raise AccountError(f"the form of {{CRYPT}} is not known; known: {', '.join(_CRYPT)}")
        return cls(scheme, value)

    @property
    def text(self) -> str:
        """What :meth:`read` makes the same value of."""
        if self.scheme in ("plain", "none"):
            return f"{{{self.scheme.upper()}}}{self.value}"
        if self.scheme in _DIGESTS:
            return _DIGESTS[self.scheme] + self.value
        return next(
            (f"{{{name}}}{self.value}" for name, scheme in _SCHEMES.items() if scheme == self.scheme),
            self.value,
        )

    @property
    def sound(self) -> bool:
        """False if it is not of the form of its scheme, so that no password will ever match."""
        try:
            if self.scheme == "argon2":
                extract_parameters(self.value)
            elif self.scheme in _DIGESTS:
                return len(self._digest()[0]) == hashlib.new(self.scheme).digest_size
            elif self.slow:
                return _passlib(self.scheme).from_string(self.value).checksum is not None
        except (ValueError, InvalidHashError):
            return False
        return True

    @property
    def slow(self) -> bool:
        """True if checking takes long on purpose, and so belongs into a thread."""
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
        """True if ``password`` is the one kept. A hash that is damaged matches nothing."""
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
            return hmac.compare_digest(digest, hashlib.new(self.scheme, octets + salt).digest())
        if self.scheme == "bcrypt":
            octets = octets[:_MOST_OF_BCRYPT]
        return bool(_passlib(self.scheme).verify(octets, self.value))

    def _digest(self) -> tuple[bytes, bytes]:
        octets = base64.b64decode(self.value, validate=True)
        size = hashlib.new(self.scheme).digest_size
        return octets[:size], octets[size:]


def _crypt(text: str) -> str | None:
    return next((scheme for prefix, scheme in _CRYPT.items() if text.startswith(prefix)), None)


def _decoded(value: str, encoding: str, scheme: str) -> str:
    """What is encoded, as the scheme has it without an encoding."""
    try:
        octets = _DECODE[encoding](value)
        return base64.b64encode(octets).decode() if scheme in _DIGESTS else octets.decode()
    except ValueError:
        raise AccountError(f"what follows the braces is not {encoding}") from None


def _passlib(scheme: str) -> Any:
    # Imported late: only those who have such hashes pay for it at the start.
    import passlib.hash

    return getattr(passlib.hash, scheme)


def load_schemes() -> None:
    """Import now what hashes of other servers need: later the process may not be able to."""
    for scheme in _CRYPT.values():
        _passlib(scheme)


def hash_password(password: str) -> str:
    """An argon2id hash to keep (RFC 9106)."""
    return _hasher.hash(password)
