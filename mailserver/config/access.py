"""The sections about who may come in, and what proves it: TLS, mechanisms, tokens; see ``model``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from mailserver.config import schema
from mailserver.config.kinds import At, ListOf, Secret
from mailserver.config.mail_kinds import CLAIM, PATH, PATH_OR_NONE, TEXT_OR_NONE, TOKEN_KEY
from mailserver.config.problems import Problem
from mailserver.config.scalars import Boolean, Choice, Duration
from mailserver.config.schema import key

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


@attrs.frozen(kw_only=True)
class Tls:
    """The certificate of this server, PEM files. Without ``generate`` neither path is None."""

    certificate: Path | None = key(
        PATH_OR_NONE,
        "The certificate, then the intermediate ones, PEM. A renewed one is used without a restart.",
        default="",
        example="fullchain.pem",
    )
    private_key: Path | None = key(
        PATH_OR_NONE,
        "The private key, PEM; not for everybody to read.",
        default="",
        example="privkey.pem",
    )
    client_ca: Path | None = key(
        PATH_OR_NONE,
        "The certificates of the authorities, PEM, that sign those of clients: a client may then show one, "
        'and log in by it where auth.mechanisms has EXTERNAL. "": none is asked for.',
        default="",
    )
    generate: bool = key(
        Boolean(),
        "Whether to make an authority and a certificate for the hostname at the start, below data, in the "
        "folder tls. For demos and tests: nobody else trusts them. Then certificate and private_key "
        "are left out.",
        default=False,
    )


def check_tls(values: dict[str, Any], at: At) -> Iterator[Problem]:
    if "generate" not in values:
        return
    for name in ("certificate", "private_key"):
        if name not in values:
            continue
        given = values[name] is not None
        if values["generate"] and given:
            text = "it is of no use with generate = true; allowed: only with generate = false"
            yield Problem(at.below(name).key, text)
        elif not values["generate"] and not given:
            text = f"it is missing; allowed: {PATH.allowed}; or both left out with generate = true"
            yield Problem(at.below(name).key, text)


@attrs.frozen(kw_only=True)
class Certificate:
    """A further certificate of this server, PEM files."""

    certificate: Path = key(
        PATH,
        "The certificate, then the intermediate ones, PEM. Its names say for whom it is.",
        example="other-fullchain.pem",
    )
    private_key: Path = key(
        PATH, "The private key, PEM; not for everybody to read.", example="other-privkey.pem"
    )


@attrs.frozen(kw_only=True)
class Auth:
    """How to log in."""

    mechanisms: tuple[str, ...] = key(
        ListOf(Choice[Mechanism](get_args(Mechanism)), may_be_empty=True, distinct=True),
        "The SASL mechanisms offered, and whether POP3 has APOP (RFC 1939 section 7). []: no AUTH. "
        "SCRAM, CRAM-MD5 and APOP need keys of their own, which are made when a password is set from then "
        "on; those ending in -PLUS are offered under TLS alone; EXTERNAL needs tls.client_ca; XOAUTH2 and "
        "OAUTHBEARER need [token] or a checker of --auth; ANONYMOUS is for tests, as it lets everybody in.",
        default=["PLAIN", "LOGIN"],
    )
    remember: float = key(
        Duration(),
        "How long a password that was right is remembered, in memory alone, so that a client which often "
        "logs in does not cost a slow hash each time; 0: not at all.",
        default="5m",
    )


@attrs.frozen(kw_only=True)
class Token:
    """What makes a bearer token good: a JSON Web Token (RFC 7519)."""

    key: Secret | None = schema.key(
        TOKEN_KEY,
        'The secret that tokens are signed with, for HS256 and its like; "": such tokens are refused.',
        default="",
    )
    jwks: Path | None = schema.key(
        PATH_OR_NONE,
        "A file with the public keys that tokens are signed with, as a JWK Set (RFC 7517 section 5); "
        '"": such tokens are refused.',
        default="",
    )
    issuer: str = schema.key(
        TEXT_OR_NONE, 'What "iss" in a token must be (RFC 7519 section 4.1.1); "": anything.', default=""
    )
    audience: str = schema.key(
        TEXT_OR_NONE,
        'What "aud" in a token must be or contain (RFC 7519 section 4.1.3). "": only tokens that name no '
        "audience.",
        default="",
    )
    claim: str = schema.key(
        CLAIM, "The claim in a token whose value is the address of the account.", default="email"
    )
