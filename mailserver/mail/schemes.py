"""Password schemes: how a stored password is written, in the notation of Dovecot.

This module reads the scheme and the encoding only. It computes no hash.

    password = "{" scheme [ "." encoding ] "}" value / crypt / plain
    encoding = "HEX" / "B64" / "BASE64"
    crypt    = "$" id "$" …                     ; crypt(5)

Schemes and encodings are read in any case. A text in braces that is no known scheme is an error, and so is
a hash of an unsupported kind: otherwise the text of a hash would become the password itself.
"""

import re

import attrs

from mailserver.errors import AccountError

SCHEMES = {
    "ARGON2ID": "argon2",
    "ARGON2I": "argon2",
    "SHA512-CRYPT": "sha512_crypt",
    "SHA256-CRYPT": "sha256_crypt",
    "BLF-CRYPT": "bcrypt",
    "MD5-CRYPT": "md5_crypt",
    "CRYPT": "crypt",
    "SSHA512": "ssha512",
    "SSHA256": "ssha256",
    "SSHA": "ssha1",
    "SHA512": "sha512",
    "SHA256": "sha256",
    "SHA1": "sha1",
    "SHA": "sha1",
    "PLAIN": "plain",
    "CLEARTEXT": "plain",
    "CLEAR": "plain",
    "NONE": "none",
}
"""The names that may stand in braces, and the scheme that each means."""

# These need no braces. htpasswd writes $apr1$.
_CRYPT = {
    "$argon2id$": "argon2",
    "$argon2i$": "argon2",
    "$6$": "sha512_crypt",
    "$5$": "sha256_crypt",
    "$2a$": "bcrypt",
    "$2b$": "bcrypt",
    "$2y$": "bcrypt",
    "$1$": "md5_crypt",
    "$apr1$": "apr_md5_crypt",
}
_ENCODINGS = ("HEX", "B64", "BASE64")
_BRACES = re.compile(r"\{([^}]*)\}")
_FOREIGN = re.compile(
    r"\$2(?![aby]\$)|\$argon2(?!(?:id|i)\$)|\$md5[,$]"
    r"|\$(?:3|7|sha1|g?y|sm3y|scrypt|bcrypt-sha256|pbkdf2[a-z0-9-]*)\$"
)
# Unsupported schemes of Dovecot. An error may repeat these names; any other text in braces may be part of a
# plain password.
_UNSUPPORTED = {
    "MD5", "PLAIN-MD5", "LDAP-MD5", "SMD5", "PLAIN-MD4", "CRAM-MD5", "HMAC-MD5", "DIGEST-MD5", "SCRAM-SHA-1",
    "SCRAM-SHA-256", "PBKDF2", "DES-CRYPT", "LANMAN", "NTLM", "OTP", "SKEY", "RPA", "YESCRYPT", "SCRYPT",
}  # fmt: skip


@attrs.frozen
class Written:
    """A stored password as it is written.

    ``scheme`` is a value of :data:`SCHEMES` other than "crypt", or "apr_md5_crypt". ``encoding`` is "HEX",
    "B64", "BASE64", or "" if none is named.
    """

    scheme: str
    encoding: str
    value: str = attrs.field(repr=False)


def read_scheme(text: str, default: str = "PLAIN") -> Written:
    """Read the scheme of ``text``. Without one, ``default`` applies; if that is "", a scheme is required.

    Raises :class:`~mailserver.errors.AccountError`, which does not repeat the password.
    """
    match = _BRACES.match(text)
    if match is not None:
        return _named(match[1], text[match.end() :])
    if (scheme := _crypt(text)) is not None:
        return Written(scheme, "", text)
    if _FOREIGN.match(text):
        raise AccountError(
            "the password looks like a hash of an unsupported kind, such as yescrypt ($y$): set a new "
            "password, or write {PLAIN} before it if it is not a hash"
        )
    if not default:
        raise AccountError("the password has no scheme, such as {PLAIN}, and there is no default scheme")
    return _named(default, text)


def is_scheme(name: str) -> bool:
    """Whether ``name`` is the name of a scheme, with or without an encoding."""
    scheme, dot, encoding = name.upper().partition(".")
    return scheme in SCHEMES and (encoding in _ENCODINGS or not dot)


def _named(name: str, value: str) -> Written:
    scheme, _, encoding = name.upper().partition(".")
    if not is_scheme(name):
        # An unknown scheme may be a part of a password, so it is not shown.
        shown = f" {{{scheme}}}" if scheme in _UNSUPPORTED else ""
        raise AccountError(
            f"unknown password scheme{shown}; known: {', '.join(SCHEMES)}, each also with .HEX, .B64 or "
            ".BASE64; write a plain password that begins with braces as {PLAIN}{…"
        )
    found = SCHEMES[scheme]
    if found == "crypt" and not encoding:
        return Written(crypt_scheme(value), "", value)
    return Written(found, encoding, value)


def crypt_scheme(value: str) -> str:
    """The scheme of a hash in the form of crypt(5). Raises :class:`~mailserver.errors.AccountError`."""
    found = _crypt(value)
    if found is None:
        raise AccountError(f"unknown kind of hash after {{CRYPT}}; known: {', '.join(_CRYPT)}")
    return found


def _crypt(text: str) -> str | None:
    return next((scheme for prefix, scheme in _CRYPT.items() if text.startswith(prefix)), None)
