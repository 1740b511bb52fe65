"""The sections [auth] and [token]: how clients log in."""

from pathlib import Path
from typing import Literal, get_args

import attrs

from mailserver.config.schema import tables
from mailserver.config.schema.kinds import ListOf, Secret
from mailserver.config.schema.mail_kinds import CLAIM, PATH_OR_NONE, TEXT_OR_NONE, TOKEN_KEY
from mailserver.config.schema.scalars import Choice, Duration

MechanismName = Literal[
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256-PLUS",
    "EXTERNAL",
    "XOAUTH2",
    "OAUTHBEARER",
    "ANONYMOUS",
    "APOP",
]
PlaintextAuth = bool | Literal["loopback"]

PLAINTEXT_AUTH = Choice[PlaintextAuth]((False, "loopback", True))
PLAINTEXT_AUTH_DOC = (
    'Permission to send passwords without TLS: never (false), from this machine only ("loopback"), or '
    "always (true)."
)


@attrs.frozen(kw_only=True)
class AuthSection:
    """The mechanisms, and the cache of verified passwords."""

    mechanisms: tuple[str, ...] = tables.key(
        ListOf(Choice[MechanismName](get_args(MechanismName)), may_be_empty=True, distinct=True),
        "SASL mechanisms that the server offers, and APOP, a command of POP3 (RFC 1939 section 7). With [] "
        "nobody can log in by AUTH. SCRAM, CRAM-MD5 and APOP need their own keys, which the server makes "
        "when a password is set while they are enabled. Mechanisms with -PLUS need TLS. EXTERNAL needs "
        "tls.client_ca. XOAUTH2 and OAUTHBEARER need [token] or a checker of --auth. ANONYMOUS accepts "
        "everybody and is for tests.",
        default=["PLAIN", "LOGIN"],
    )
    remember: float = tables.key(
        Duration(),
        "Time that a verified password is remembered, in memory only, so that a client that logs in often "
        "does not cost a slow hash each time; 0: not at all.",
        default="5m",
    )
    passwd_file: Path | None = tables.key(
        PATH_OR_NONE,
        "Passwd-file of all accounts with their password hashes, for an IMAP server (Dovecot) on the same "
        "mailboxes. The server writes it at its start and after each change.",
        default="",
        note="no such file",
        example="/var/lib/mailserver/dovecot.passwd",
    )


@attrs.frozen(kw_only=True)
class TokenSection:
    """How bearer tokens are verified."""

    key: Secret | None = tables.key(
        TOKEN_KEY,
        "Secret that signs tokens, for HS256, HS384 and HS512.",
        default="",
        note="such tokens are rejected",
    )
    jwks: Path | None = tables.key(
        PATH_OR_NONE,
        "File with the public keys of the tokens, as a JWK Set (RFC 7517 section 5).",
        default="",
        note="tokens signed with such keys are rejected",
        example="keys.json",
    )
    issuer: str = tables.key(
        TEXT_OR_NONE,
        'Required value of "iss" in a token (RFC 7519 section 4.1.1).',
        default="",
        note="any issuer",
        example="https://login.example.org",
    )
    audience: str = tables.key(
        TEXT_OR_NONE,
        'Required value of "aud" in a token, or one of its values (RFC 7519 section 4.1.3).',
        default="",
        note="only tokens without an audience",
        example="mail",
    )
    claim: str = tables.key(CLAIM, "Claim of a token that has the address of the account.", default="email")
