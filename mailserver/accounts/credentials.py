"""What an account keeps to prove a password by, made when the password is set.

The argon2id hash always. The keys of SCRAM (RFC 5802) and the password itself, for CRAM-MD5 and APOP,
only if those are to be offered: whoever steals the file can log in by the latter at once, and can guess
against the former faster than against argon2id. App passwords are drawn, not chosen: nobody guesses 118
bits, so that the one SHA-256 by which they are kept (see ``directory``) is enough.
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

# Twice the least that RFC 5802 section 5.1 and RFC 7677 section 4 ask for. Clients, some of them on a
# telephone or in a scripting language, pay it at each login; a guess is far cheaper than one of argon2id
# whatever is chosen here.
SCRAM_ITERATIONS = 10_000
SCRAM_SALT = 16  # octets
SCRAM_HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}  # as hashlib calls them
NEED_SECRET = frozenset(["CRAM-MD5", "APOP"])

# 31 signs, without those that are taken for each other: 24 of them are 118 bits.
_SIGNS = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 6, 4


@attrs.frozen
class StoredCredentials:
    """See :class:`~mailserver.accounts.directory.Account`."""

    password: StoredPassword | None
    scram: Mapping[str, ScramKeys] = attrs.field(factory=dict)
    secret: str | None = attrs.field(default=None, repr=False)


def make_credentials(password: str, mechanisms: Collection[str] = ()) -> StoredCredentials:
    """What the SASL ``mechanisms`` (and "APOP") need. Takes long on purpose.

    Raises :class:`~mailserver.errors.AccountError` for a password of which SASLprep (RFC 4013) leaves
    nothing, and for one that is too long to log in with.
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
    # Clients of CRAM-MD5 and APOP digest the password as it was typed.
    secret = password if NEED_SECRET & set(mechanisms) else None
    return StoredCredentials(StoredPassword.read(hash_password(text)), scram, secret)


def new_app_password() -> str:
    """A random password, easy to type: groups of letters and digits with dashes."""
    groups = ("".join(secrets.choice(_SIGNS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)
