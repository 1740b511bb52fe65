"""Bearer tokens: what is checked, with which keys, and what a failure tells."""

import base64
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from twisted.cred.error import UnauthorizedLogin
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from mailserver.accounts.tokens import JWTValidator, TokenSettings
from mailserver.errors import ConfigurationError
from tests.support.fakes import stand_in

SECRET = "an octet for each of 32, at least"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
SMALL_KEY = rsa.generate_private_key(65537, 1024)


def pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    octets: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return octets.decode()


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a good token; None takes one away."""
    given = {"email": "alice@example.org", "exp": int(time.time()) + 300, **more}
    return {name: value for name, value in given.items() if value is not None}


def token(
    key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **more: Any
) -> str:
    return jwt.encode(claims(**more), key, algorithm, headers)


def validate(validator: JWTValidator, given: str) -> str:
    """The name, or the text of the refusal in brackets."""
    found: list[Any] = []
    validator.validate(given).addBoth(found.append)
    if isinstance(found[0], Failure):
        found[0].trap(UnauthorizedLogin)
        assert given not in str(found[0].value) + found[0].getTraceback() or len(given) < 5
        return f"[{found[0].value}]"
    return str(found[0])


def by_secret(given: str, **settings: str) -> str:
    return validate(JWTValidator(TokenSettings(**settings), SECRET), given)


def test_a_good_token() -> None:
    assert by_secret(token()) == "alice@example.org"


@pytest.mark.parametrize(
    ("settings", "more", "outcome"),
    [
        ({}, {"exp": None}, "MissingRequiredClaimError"),
        ({}, {"exp": -40}, "ExpiredSignatureError"),
        ({}, {"exp": -20}, None),
        ({}, {"exp": "soon"}, "DecodeError"),
        ({}, {"nbf": 600}, "ImmatureSignatureError"),
        ({}, {"nbf": 20}, None),
        ({}, {"aud": "somebody else"}, "InvalidAudienceError"),
        ({"audience": "mail"}, {"aud": "mail"}, None),
        ({"audience": "mail"}, {"aud": ["web", "mail"]}, None),
        ({"audience": "mail"}, {"aud": "web"}, "InvalidAudienceError"),
        ({"audience": "mail"}, {}, "MissingRequiredClaimError"),
        ({"issuer": "https://id.example"}, {"iss": "https://id.example"}, None),
        ({"issuer": "https://id.example"}, {"iss": "https://id.example/"}, "InvalidIssuerError"),
        ({"issuer": "https://id.example"}, {}, "MissingRequiredClaimError"),
        ({}, {"iss": "anybody"}, None),
        ({}, {"email": None}, "no text in the claim email"),
        ({}, {"email": ["alice@example.org"]}, "no text in the claim email"),
        ({}, {"email": ""}, "no text in the claim email"),
        ({"claim": "sub"}, {"sub": "alice@example.org", "email": None}, None),
        ({}, {"email_verified": False}, "the address has not been verified"),
        ({}, {"email_verified": "false"}, "the address has not been verified"),
        ({}, {"email_verified": True}, None),
        ({"claim": "sub"}, {"sub": "alice@example.org", "email_verified": False}, None),
    ],
)  # fmt: skip
def test_claims(settings: dict[str, str], more: dict[str, Any], outcome: str | None) -> None:
    expected = "alice@example.org" if outcome is None else f"[token: {outcome}]"
    # numbers are seconds from now
    more = {name: time.time() + one if type(one) is int else one for name, one in more.items()}
    assert by_secret(token(**more), **settings) == expected


def encoded(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


ANY = f"{encoded({'alg': 'HS256'})}.{encoded(claims())}."


@pytest.mark.parametrize(
    "given",
    [
        "", "x", "a.b.c", "....", ANY, ANY + "AAAA", token()[:-4], token() + "x",
        token("another secret, " * 3),
        f"{encoded({'alg': 'none'})}.{encoded(claims())}.",
        f"{encoded({'alg': 'None'})}.{encoded(claims())}.",
        f"{encoded({})}.{encoded(claims())}.", f"{encoded('[')}.{encoded(claims())}.", f"{encoded([])}..",
        f"{encoded({'alg': ['HS256']})}.{encoded(claims())}.", f"{encoded({'alg': 'HS256', 'kid': {}})}.x.",
        encoded('{"alg":' * 100000) + ".x.y", "\u00e9.\ud800.x", "é" * 10,
        f"{encoded('{' + chr(34) + 'alg' + chr(34) + ': ' + '9' * 5000 + '}')}.x.y",
    ],
    ids=lambda given: ascii(given[:12]),
)  # fmt: skip
def test_what_is_no_good_token(given: str) -> None:
    assert by_secret(given).startswith("[token: ")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA_KEY, "RS256"), (RSA_KEY, "PS512"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA")],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_public_keys(key: Any, algorithm: str) -> None:
    validator = JWTValidator(TokenSettings(), pem(key))
    assert validate(validator, token(key, algorithm)) == "alice@example.org"
    for other, name in ((RSA_KEY, "RS256"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA"), (SECRET, "HS256")):
        if other is not key:
            assert validate(validator, token(other, name)) == "[token: no key fits]"


def test_a_key_that_nobody_knows() -> None:
    given = token(ed25519.Ed25519PrivateKey.generate(), "EdDSA")
    assert validate(JWTValidator(TokenSettings(), pem(ED_KEY)), given) == "[token: the signature is wrong]"


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY, ED_KEY], ids=["RSA", "EC", "Ed25519"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_no_secret(key: Any, algorithm: str) -> None:
    """RFC 8725 section 2.1: a token signed by HMAC, with the public key, which everybody knows."""
    import hashlib
    import hmac

    signed = f"{encoded({'alg': algorithm})}.{encoded(claims())}"
    digest = hmac.digest(pem(key).encode(), signed.encode(), getattr(hashlib, f"sha{algorithm[2:]}"))
    forged = f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    assert validate(JWTValidator(TokenSettings(), pem(key)), forged) == "[token: no key fits]"


def test_a_key_for_another_curve() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    validator = JWTValidator(TokenSettings(), pem(other))
    assert validate(validator, token(other, "ES384")) == "alice@example.org"
    assert validate(validator, token(EC_KEY, "ES256")) == "[token: no key fits]"


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("short", "is shorter than 32 octets"),
        ("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----", "is not a public key in PEM"),
        (pem(SMALL_KEY), "is a public key of a kind that cannot sign tokens"),
    ],
    ids=["short", "broken", "small"],
)
def test_bad_keys(key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        JWTValidator(TokenSettings(), key)
    assert raised.value.lines == [f"token.key: {problem}"]


def test_a_private_key_is_not_taken_for_a_public_one() -> None:
    private = EC_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ConfigurationError):
        JWTValidator(TokenSettings(), private.decode())


# ---------------------------------------------------------------- JWK sets


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    if isinstance(key, str):
        return {"kty": "oct", "k": encoded(key), **more}
    kinds = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
    }
    for kind, algorithm in kinds.items():
        if isinstance(key, kind):
            return {**json.loads(algorithm.to_jwk(key.public_key())), "key_ops": ["verify"], **more}  # type: ignore[attr-defined]
    return {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key())), **more}


def write(path: Path, *keys: Any, mode: int = 0o644) -> Path:
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"keys": list(keys)}))
    new.chmod(mode)
    new.replace(path)
    return path


def test_a_set_of_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path / "jwks", jwk(RSA_KEY, kid="r"), jwk(EC_KEY, kid="e"), jwk(ED_KEY), "x", {"kty": "new"}, {}
    )
    validator = JWTValidator(TokenSettings(), jwks=path)
    for key, algorithm, kid, good in [
        (RSA_KEY, "RS256", "r", True), (RSA_KEY, "RS256", None, True), (RSA_KEY, "RS256", "e", False),
        (EC_KEY, "ES256", "e", True), (ED_KEY, "EdDSA", "anything", True), (SMALL_KEY, "RS256", "r", False),
    ]:  # fmt: skip
        headers = {"kid": kid} if kid else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = token(key, algorithm, headers)
        assert (validate(validator, given) == "alice@example.org") is good, (algorithm, kid)


@pytest.mark.parametrize(
    ("entry", "algorithm", "good"),
    [
        ({"alg": "RS256"}, "RS256", True), ({"alg": "RS256"}, "PS256", False),
        ({"use": "sig"}, "RS256", True),
        ({"use": "sig", "alg": "PS256"}, "PS256", True),
    ],
)  # fmt: skip
def test_a_key_may_say_what_it_is_for(
    tmp_path: Path, entry: dict[str, str], algorithm: str, good: bool
) -> None:
    validator = JWTValidator(TokenSettings(), jwks=write(tmp_path / "jwks", jwk(RSA_KEY, **entry)))
    assert (validate(validator, token(RSA_KEY, algorithm)) == "alice@example.org") is good


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ([], "has no usable key"), ([jwk(RSA_KEY, use="enc")], "has no usable key"),
        ([jwk(RSA_KEY, alg="none")], "has no usable key"),
        ([jwk(RSA_KEY, alg="HS256")], "has no usable key"),
        ([jwk("short")], "has no usable key"),
        ([jwk(SMALL_KEY)], "has no usable key"), (None, "is not a JWK set"),
        ([jwk(SECRET)], "everybody can read the secrets in it; give it to the group of the server's user "
         "(chgrp) and take it from others (chmod 640)"),
    ],
)  # fmt: skip
def test_bad_sets(tmp_path: Path, keys: Any, problem: str) -> None:
    path = write(tmp_path / "jwks", *(keys or []))
    if keys is None:
        path.write_text("[]")
    with pytest.raises(ConfigurationError) as raised:
        JWTValidator(TokenSettings(), jwks=path)
    assert raised.value.lines == [f"token.jwks: {path}: {problem}"]


def test_secrets_in_a_set_that_only_we_can_read(tmp_path: Path) -> None:
    validator = JWTValidator(TokenSettings(), jwks=write(tmp_path / "jwks", jwk(SECRET), mode=0o640))
    assert validate(validator, token()) == "alice@example.org"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"7"])
def test_what_is_no_set(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jwks"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        JWTValidator(TokenSettings(), jwks=path)
    with pytest.raises(ConfigurationError, match=os.strerror(2)):
        JWTValidator(TokenSettings(), jwks=tmp_path / "none")


def test_a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "jwks", jwk(RSA_KEY))
    validator = JWTValidator(TokenSettings(), SECRET, path)
    old, new = token(RSA_KEY, "RS256"), token(EC_KEY, "ES256")
    assert [validate(validator, one)[0] for one in (old, new)] == ["a", "["]
    write(path, jwk(EC_KEY))
    assert [validate(validator, one)[0] for one in (old, new)] == ["[", "a"]
    events: list[Any] = []
    globalLogPublisher.addObserver(stand_in(events.append))
    try:
        for broken in (lambda: path.write_text("{"), path.unlink):
            events.clear()
            broken()
            for _ in range(3):
                assert [validate(validator, one)[0] for one in (old, new, token())] == ["[", "a", "a"]
            assert ["stay in force" in event["log_format"] for event in events] == [True]
    finally:
        globalLogPublisher.removeObserver(stand_in(events.append))
    write(path, jwk(RSA_KEY))
    assert [validate(validator, one)[0] for one in (old, new)] == ["a", "["]


def test_secrets_are_not_shown() -> None:
    validator = JWTValidator(TokenSettings(), SECRET)
    assert SECRET not in repr(validator._own)
