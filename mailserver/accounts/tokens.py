"""Bearer tokens (RFC 6750) that are JSON Web Tokens (RFC 7519), checked with keys at hand.

The key is text of the configuration: a secret, or a public key in PEM; or the keys are in a file, a
JWK set (RFC 7517). Nobody is asked over the network. Which algorithms are good is told by the key and
never by the token: "none" is not, nor is a secret made of a public key (RFC 8725 section 3.1).
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
"""By how many seconds the clocks may differ."""

HMAC = ("HS256", "HS384", "HS512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
SHORTEST_SECRET = 32
"""In octets: RFC 7518 section 3.2."""


class ITokenValidator(Interface):
    """Knows whose a bearer token is."""

    def validate(token: str) -> "Deferred[str]":
        """Fires with the name of an account, which may not be one of ours.

        Fails with UnauthorizedLogin, whose text does not have the token in it.
        """


@attrs.frozen
class _Key:
    """A key, the algorithms that fit it, and its name in a JWK set."""

    value: Any = attrs.field(repr=False)
    algorithms: Sequence[str]
    key_id: str | None = None


@attrs.frozen
class TokenSettings:
    """What a token must say: exp always, iss and aud if they are not ""; ``claim`` has the name.

    A token for somebody else, that is with an aud where none is wanted, is refused, too.
    """

    issuer: str = ""
    audience: str = ""
    claim: str = "email"


@implementer(ITokenValidator)
class JWTValidator:
    """Checks tokens with the key, or with the keys in the file as they are now."""

    def __init__(self, settings: TokenSettings, key: str = "", jwks: Path | None = None) -> None:
        """Raises :class:`~mailserver.errors.ConfigurationError` if a key is of no use."""
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
        # Imported late: only those who take tokens pay for it at the start.
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
        except Exception as error:  # noqa: BLE001 - a stranger chose every octet
            # The name of the class says what is wrong; the text might quote the token.
            reason = type(error).__name__
        raise UnauthorizedLogin(f"token: {reason}")

    def _fitting(self, algorithm: object, key_id: object) -> Iterator[_Key]:
        for key in (*self._own, *self._filed):
            if algorithm in key.algorithms and (key_id is None or key.key_id in (None, key_id)):
                yield key

    def _read_again(self) -> None:
        """Take over a file that has changed; if it is broken, the old keys stay in force."""
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
    # Anybody can ask some issuers for a token with an address that is not theirs.
    if claim == "email" and claims.get("email_verified", True) not in (True, "true"):
        raise UnauthorizedLogin("token: the address has not been verified")
    return name


def _configured(text: str) -> _Key:
    if "-----BEGIN" in text:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(text.strip().encode())
        except Exception:  # noqa: BLE001 - it fails in many ways, and says little
            raise ValueError("is not a public key in PEM") from None
        algorithms = _algorithms(key)
        if not algorithms:
            raise ValueError("is a public key of a kind that cannot sign tokens")
        return _Key(key, algorithms)
    if len(text.encode()) < SHORTEST_SECRET:
        raise ValueError(f"is shorter than {SHORTEST_SECRET} octets")
    return _Key(text.encode(), HMAC)


def _algorithms(key: object) -> Sequence[str]:
    """The algorithms that a public key or a secret is for; none if it is of no use."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(key, bytes):
        return HMAC if len(key) >= SHORTEST_SECRET else ()
    if isinstance(key, rsa.RSAPublicKey):
        return RSA if key.key_size >= 2048 else ()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES.get(key.curve.name, ())
    return ("EdDSA",) if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) else ()


def _read(path: Path) -> list[_Key]:
    """The keys of a JWK set. Raises OSError, and ValueError if there are none of any use."""
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
            continue  # RFC 7517 section 5: what is not understood is passed over
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
    # What the parser of JSON says has none of the text in it.
    return str(error)
