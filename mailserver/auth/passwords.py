"""Stored passwords: plain, or hashed in one of the ways that mail servers have used.

``$argon2id$`` is the one to use; the crypt and LDAP forms are read so that accounts of other
servers can be taken over. A prefix in braces names the scheme, as ``doveadm pw`` writes it.
"""

import hmac
import re

import attrs
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

_SCHEME = re.compile(r"\{([A-Z0-9.-]+)\}")

# Schemes by the names that passlib has for them; the first form is what follows the braces.
_CRYPT = {
    "SHA512-CRYPT": "sha512_crypt",
    "SHA256-CRYPT": "sha256_crypt",
    "BLF-CRYPT": "bcrypt",
}
_LDAP = {
    "SSHA": "ldap_salted_sha1",
    "SSHA256": "ldap_salted_sha256",
    "SSHA512": "ldap_salted_sha512",
}
_BARE = {"$6$": "sha512_crypt", "$5$": "sha256_crypt", "$2": "bcrypt"}


@attrs.frozen
class StoredPassword:
    """A password as it is kept. ``scheme`` is "plain", "argon2" or passlib's name of the hash."""

    scheme: str
    value: str = attrs.field(repr=False)

    @classmethod
    def read(cls, text: str) -> "StoredPassword":
        """Tell the scheme by its prefix; without a known one the text is the password itself."""
        if text.startswith("$argon2"):
            return cls("argon2", text)
        for prefix, scheme in _BARE.items():
            if text.startswith(prefix):
                return cls(scheme, text)
        match = _SCHEME.match(text)
        if match is None:
            return cls("plain", text)
        name, rest = match[1], text[match.end() :]
        if name in _CRYPT:
            return cls(_CRYPT[name], rest)
        if name in _LDAP:
            return cls(_LDAP[name], text)
        if name.startswith("ARGON2"):
            return cls("argon2", rest)
        return cls("plain", rest if name == "PLAIN" else text)

    @property
    def slow(self) -> bool:
        """True if checking takes long on purpose, and so belongs into a thread."""
        return self.scheme != "plain"

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
        if self.scheme == "plain":
            return hmac.compare_digest(self.value.encode(), password.encode())
        if self.scheme == "argon2":
            try:
                return PasswordHasher().verify(self.value, password)
            except (Argon2Error, InvalidHashError):
                return False
        # Imported late: only those who have such hashes pay for it at the start.
        import passlib.hash

        try:
            return bool(getattr(passlib.hash, self.scheme).verify(password, self.value))
        except (ValueError, TypeError):
            return False


def hash_password(password: str) -> str:
    """An argon2id hash to keep (RFC 9106)."""
    return PasswordHasher().hash(password)
