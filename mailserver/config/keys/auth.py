"""The sections [auth] and [token]: how clients log in."""

from pathlib import Path
from typing import Literal, get_args

import attrs

from mailserver.config.schema import tables
from mailserver.config.schema.kinds import ListOf, Secret
from mailserver.config.schema.mail_kinds import CLAIM, PATH_OR_NONE, TEXT_OR_NONE, TOKEN_KEY
from mailserver.config.schema.scalars import Choice, Duration

Mechanism = Literal[
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


@attrs.frozen(kw_only=True)
class AuthSection:
    """How to log in."""

    mechanisms: tuple[str, ...] = tables.key(
        ListOf(Choice[Mechanism](get_args(Mechanism)), may_be_empty=True, distinct=True),
        "The SASL mechanisms offered, and whether POP3 has APOP (RFC 1939 section 7). []: no AUTH. "
        "SCRAM, CRAM-MD5 and APOP need keys of their own, which are made when a password is set from then "
        "on; those ending in -PLUS are offered under TLS alone; EXTERNAL needs tls.client_ca; XOAUTH2 and "
        "OAUTHBEARER need [token] or a checker of --auth; ANONYMOUS is for tests, as it lets everybody in.",
        default=["PLAIN", "LOGIN"],
    )
    remember: float = tables.key(
        Duration(),
        "How long a password that was right is remembered, in memory alone, so that a client which often "
        "logs in does not cost a slow hash each time; 0: not at all.",
        default="5m",
    )


@attrs.frozen(kw_only=True)
class TokenSection:
    """What makes a bearer token good: a JSON Web Token (RFC 7519)."""

    key: Secret | None = tables.key(
        TOKEN_KEY,
        'The secret that tokens are signed with, for HS256 and its like; "": such tokens are refused.',
        default="",
    )
    jwks: Path | None = tables.key(
        PATH_OR_NONE,
        "A file with the public keys that tokens are signed with, as a JWK Set (RFC 7517 section 5); "
        '"": such tokens are refused.',
        default="",
    )
    issuer: str = tables.key(
        TEXT_OR_NONE, 'What "iss" in a token must be (RFC 7519 section 4.1.1); "": anything.', default=""
    )
    audience: str = tables.key(
        TEXT_OR_NONE,
        'What "aud" in a token must be or contain (RFC 7519 section 4.1.3). "": only tokens that name no '
        "audience.",
        default="",
    )
    claim: str = tables.key(
        CLAIM, "The claim in a token whose value is the address of the account.", default="email"
    )
