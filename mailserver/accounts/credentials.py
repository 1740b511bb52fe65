"""The stored credentials of an account, made when its password is set.

An argon2id hash is always made; SCRAM keys (RFC 5802), and the password itself for CRAM-MD5 and APOP, are
stored only if these mechanisms are offered: a thief of the file could log in with the password at once, and
could test guesses against SCRAM keys faster than against argon2id. App passwords are random, with 118 bits.
They cannot be guessed, so a single SHA-256 of them is enough (see ``directory``).
"""

import secrets
from collections.abc import Collection, Mapping

import attrs

from mailserver.accounts.passwords import StoredPassword, hash_password
from mailserver.errors import AccountError
from mailserver.sasl.coding import MAX_SECRET
from mailserver.sasl.prep import prepared
from mailserver.sasl.scram import derive_keys
from mailserver.sasl.steps import ScramKeys

# Twice the minimum of RFC 5802 section 5.1 and RFC 7677 section 4. Each login costs the client this much, and
# some clients run on a telephone or in a scripting language. No count makes a guess as costly as argon2id.
SCRAM_ITERATIONS = 10_000
SCRAM_SALT = 16  # octets
SCRAM_HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}  # as hashlib calls them
NEED_SECRET = frozenset(["CRAM-MD5", "APOP"])

# 31 characters that cannot be mistaken for each other; 24 of them are 118 bits.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 6, 4


@attrs.frozen
class StoredCredentials:
    """See :class:`~mailserver.accounts.directory.Account`."""

    password: StoredPassword | None
    scram: Mapping[str, ScramKeys] = attrs.field(factory=dict)
    secret: str | None = attrs.field(default=None, repr=False)


def make_credentials(password: str, mechanisms: Collection[str] = ()) -> StoredCredentials:
    """The credentials that these SASL ``mechanisms`` (and "APOP") need. The hash takes long on purpose.

    Raises :class:`~mailserver.errors.AccountError` if the password is empty after SASLprep (RFC 4013), or too
    long to log in with.
    """
    if len(password.encode(errors="surrogateescape")) > MAX_SECRET:
        raise AccountError(f"the password is longer than {MAX_SECRET} octets")
    text = prepared(password)
    if not text:
        raise AccountError("the password is empty, or has only ignored characters")
    scram = {}
    for name, hash_name in SCRAM_HASHES.items():
        if {name, f"{name}-PLUS"} & set(mechanisms):
            scram[hash_name] = derive_keys(text, hash_name, secrets.token_bytes(SCRAM_SALT), SCRAM_ITERATIONS)
    # CRAM-MD5 and APOP clients digest the password as it was typed.
    secret = password if NEED_SECRET & set(mechanisms) else None
    return StoredCredentials(StoredPassword.read(hash_password(text)), scram, secret)


def new_app_password() -> str:
    """A random password that is easy to type: groups of letters and digits, with dashes."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)
