"""Verifies bearer tokens (RFC 6750) that are JSON Web Tokens (RFC 7519), with local keys.

The key is in the configuration, as a secret or a public key in PEM; or the keys are in a file, as a JWK set
(RFC 7517). Nothing is fetched over the network. The key, and never the token, decides which algorithms are
allowed: "none" is not, nor is a public key as a secret (RFC 8725 section 3.1).
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, execute
from zope.interface import Interface, implementer

from mailserver.accounts.external_checkers import why_not_private
from mailserver.errors import ConfigurationError
from mailserver.events.accounts import TokenKeysRead, TokenKeysUnusable
from mailserver.events.base import report

LEEWAY = 30
"""Seconds that the clocks may differ."""

HMAC = ("HS256", "HS384", "HS512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
SHORTEST_SECRET = 32
"""Octets; see RFC 7518 section 3.2."""


class ITokenValidator(Interface):
    """Verifies bearer tokens."""

    def validate(token: str) -> "Deferred[str]":
        """Fires with the name in the token, which may not be that of an account.

        Fails with UnauthorizedLogin, whose text does not contain the token.
        """


@attrs.frozen
class _Key:
    """A key, the algorithms that it is for, and its id in a JWK set."""

    value: Any = attrs.field(repr=False)
    algorithms: Sequence[str]
    key_id: str | None = None


@attrs.frozen
class TokenSettings:
    """The claims that a token must have: exp, and iss and aud if they are not "". ``claim`` has the name.

    If ``audience`` is "", a token with an aud is rejected: it is for another service.
    """

    issuer: str = ""
    audience: str = ""
    claim: str = "email"


@implementer(ITokenValidator)
class JWTValidator:
    """Verifies tokens with the configured key, and with the current keys in the file."""

    def __init__(self, settings: TokenSettings, key: str = "", jwks: Path | None = None) -> None:
        """Raises :class:`~mailserver.errors.ConfigurationError` if a key cannot be used."""
        import jwt  # noqa: F401 - now, as it may be out of reach when privileges are given up

        self._settings = settings
        self._path = jwks
        self._state: object = None
        self._own: list[_Key] = []
        self._filed: list[_Key] = []
        try:
            if key:
                self._own = [_configured(key)]
        except ValueError as error:
            raise ConfigurationError([f"token.key: {error}"]) from None
        if jwks is None:
            return
        try:
            self._state = _state(jwks)
            self._filed = _read(jwks)
        except (OSError, ValueError) as error:
            raise ConfigurationError([f"token.jwks: {jwks}: {_reason(error)}"]) from None

    def validate(self, token: str) -> Deferred[str]:
        """See :class:`ITokenValidator`."""
        return execute(self._validate, token)

    def _validate(self, token: str) -> str:
        # Imported late: a server without tokens starts faster.
        import jwt

        settings = self._settings
        self._read_again()
        reason = "no key fits"
        try:
            header = jwt.get_unverified_header(token)
            for key in self._fitting(header.get("alg"), header.get("kid")):
                try:
                    claims = jwt.decode(
                        token,
                        key.value,
                        algorithms=list(key.algorithms),
                        audience=settings.audience or None,
                        issuer=settings.issuer or None,
                        leeway=LEEWAY,
                        options={"require": ["exp"]},
                    )
                except jwt.InvalidSignatureError:
                    reason = "the signature is wrong"
                    continue
                return _name(claims, settings.claim)
        except UnauthorizedLogin:
            raise
        except Exception as error:  # noqa: BLE001 - the token is untrusted input
            # Only the name of the class: the text might quote the token.
            reason = type(error).__name__
        raise UnauthorizedLogin(f"token: {reason}")

    def _fitting(self, algorithm: object, key_id: object) -> Iterator[_Key]:
        for key in (*self._own, *self._filed):
            if algorithm in key.algorithms and (key_id is None or key.key_id in (None, key_id)):
                yield key

    def _read_again(self) -> None:
        """Read the file again if it has changed. If it is damaged, the old keys stay in force."""
        if self._path is None:
            return
        try:
            state: object = _state(self._path)
        except OSError as error:
            state = error.errno
        if state == self._state:
            return
        self._state = state
        try:
            self._filed = _read(self._path)
        except (OSError, ValueError) as error:
            report(TokenKeysUnusable(path=self._path, reason=_reason(error)))
        else:
            report(TokenKeysRead(path=self._path, count=len(self._filed)))


def _name(claims: dict[str, Any], claim: str) -> str:
    name = claims.get(claim)
    if not isinstance(name, str) or not name:
        raise UnauthorizedLogin(f"token: no text in the claim {claim}")
    # Some issuers issue tokens with an address that its owner has not confirmed.
    if claim == "email" and claims.get("email_verified", True) not in (True, "true"):
        raise UnauthorizedLogin("token: the address has not been verified")
    return name


def _configured(text: str) -> _Key:
    if "-----BEGIN" in text:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(text.strip().encode())
        except Exception:  # noqa: BLE001 - it raises many kinds of errors
            raise ValueError("is not a public key in PEM") from None
        algorithms = _algorithms(key)
        if not algorithms:
            raise ValueError("is a public key of a kind that cannot sign tokens")
        return _Key(key, algorithms)
    if len(text.encode()) < SHORTEST_SECRET:
        raise ValueError(f"is shorter than {SHORTEST_SECRET} octets")
    return _Key(text.encode(), HMAC)


def _algorithms(key: object) -> Sequence[str]:
    """The algorithms that a public key or a secret is for; none if it cannot be used."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(key, bytes):
        return HMAC if len(key) >= SHORTEST_SECRET else ()
    if isinstance(key, rsa.RSAPublicKey):
        return RSA if key.key_size >= 2048 else ()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES.get(key.curve.name, ())
    return ("EdDSA",) if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) else ()


def _read(path: Path) -> list[_Key]:
    """The keys of a JWK set. Raises OSError, and ValueError if no key can be used."""
    import jwt

    try:
        document = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("is not a JWK set") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("is not a JWK set")
    keys = []
    for entry in entries:
        try:
            one = jwt.PyJWK(entry)
        except (jwt.PyJWTError, NotImplementedError, AttributeError, KeyError, TypeError, ValueError):
            continue  # RFC 7517 section 5: ignore keys that are not understood
        named = entry.get("alg")
        fitting = [name for name in _algorithms(one.key) if named in (None, name)]
        if fitting and entry.get("use", "sig") == "sig":
            keys.append(_Key(one.key, fitting, entry.get("kid")))
    if not keys:
        raise ValueError("has no usable key")
    if any(isinstance(key.value, bytes) for key in keys) and (reason := why_not_private(path)):
        raise ValueError(reason)
    return keys


def _state(path: Path) -> object:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    # An error of the JSON parser does not quote the text.
    return str(error)
