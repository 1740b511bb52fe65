"""dkimpy, an independent implementation, verifies what is signed here, and signs what is verified here."""

import base64
from functools import cache
from random import Random

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailserver.policy.dkim.keys import key_record
from tests.support.dkim import DOMAIN, dkimpy_verifies, key, parts, random_message, signed, verified

SHORT, LONG, AT_ONCE = 300, 10_000, 50


@cache
def theirs(algorithm: str) -> tuple[bytes, bytes]:
    """A private key as dkimpy wants it, and the record of its public key."""
    if algorithm == "ed25519-sha256":
        ours = key("ed25519")
        octets = ours.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return base64.b64encode(octets), key_record(ours).encode()
    # dkimpy computes RSA in Python; a short key makes it faster.
    short = generate_private_key(65537, 1024)
    pem = short.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return pem, key_record(short).encode()


def check(seed: int) -> None:
    random = Random(seed)
    message = random_message(random)
    cuts = [random.randrange(len(message)) for _ in range(random.randrange(6))]

    ours = signed(message, "ed25519", "rsa", cuts=cuts)
    assert dkimpy_verifies(ours, 0) and dkimpy_verifies(ours, 1), seed
    assert [one.result for one in verified(ours, cuts=cuts)] == ["pass", "pass"], seed

    algorithm = random.choice(("rsa-sha256", "ed25519-sha256"))
    private, record = theirs(algorithm)
    form = (random.choice((b"simple", b"relaxed")), random.choice((b"simple", b"relaxed")))
    with_length = random.random() < 0.3
    field = dkim.DKIM(message, signature_algorithm=algorithm.encode()).sign(
        b"other", DOMAIN.encode(), private, canonicalize=form, length=with_length
    )
    zone = {f"other._domainkey.{DOMAIN}": [record]}
    (found,) = verified(field + message, zone, now=4e9, cuts=cuts)
    assert (found.result, found.partial) == ("pass", False), (seed, form, found)
    _, body = parts(message)
    longer = field + message + (b"more\r\n" if body.endswith(b"\r\n") else b"\r\nmore\r\n")
    (found,) = verified(longer, zone, now=4e9, cuts=cuts)
    assert (found.result, found.partial) == (("pass", True) if with_length else ("fail", False)), (seed, form)


@pytest.mark.parametrize("first", range(0, SHORT, AT_ONCE))
def test_messages(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SHORT, LONG, AT_ONCE * 10))
def test_many_messages(first: int) -> None:
    for seed in range(first, min(first + AT_ONCE * 10, LONG)):
        check(seed)
