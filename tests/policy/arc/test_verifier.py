"""ARC chains: each condition of RFC 8617 section 5.2, chains of dkimpy, and what dkimpy says about ours."""

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailserver.policy.arc.verifier import ARCResult, ChainVerifier
from tests.support.arc import (
    MESSAGE,
    RESULTS,
    SEAL,
    SIGNATURE,
    chain,
    checked,
    first,
    sealed,
    second,
    without,
)
from tests.support.dkim import DOMAIN, NOW, ZONE, dkimpy_lookup, evaluated, key, parts


def dkimpy_says(message: bytes) -> str:
    status, _, _ = dkim.arc_verify(message, dnsfunc=dkimpy_lookup)
    # dkimpy knows a fourth status, of a chain that says itself that it is broken.
    return "fail" if status is None else status.decode()


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize("length", [0, 1, 2, 5, 50])
def test_chains(kind, length):
    message = chain(length, kind)
    found = checked(message, cuts=[3])
    assert (found.result, found.reason) == ("pass" if length else "none", "")
    assert found.sealers == (DOMAIN,) * length
    assert found.results == tuple(b" i=%d; forwarder%d; spf=pass" % (at, at) for at in range(1, length + 1))
    if length < 50 and kind == "rsa":
        assert dkimpy_says(message) == found.result


TWO = chain(2)
MALFORMED = "malformed"
ONE_MORE = b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=example.org; s=s-rsa; b=AAAA\r\n"
MISMATCH = "signature does not match"
CHANGES = {
    "body": (lambda: TWO + b"more", "signature of set 2: body hash does not match"),
    "subject": (lambda: TWO.replace(b"Subject: one", b"Subject: two"), f"signature of set 2: {MISMATCH}"),
    "newest results": (lambda: TWO.replace(b"forwarder2;", b"forwarder3;"), f"seal of set 2: {MISMATCH}"),
    "oldest results": (lambda: TWO.replace(b"forwarder1;", b"forwarder3;"), f"seal of set 1: {MISMATCH}"),
    "oldest seal": (
        lambda: sealed(first(seal={"t": "1"}).replace(b"t=1;", b"t=2;"), 2), f"seal of set 1: {MISMATCH}"
    ),
    "no seal": (lambda: without(TWO, SEAL, 2), "set 2 is not complete"),
    "no results": (lambda: without(TWO, RESULTS, 1), "set 1 is not complete"),
    "no signature": (lambda: without(TWO, SIGNATURE, 1), "set 1 is not complete"),
    "a gap": (lambda: sealed(first(), 3), "set 2 is not complete"),
    "only the second": (lambda: sealed(MESSAGE, 2), "set 1 is not complete"),
    "twice": (lambda: TWO[: TWO.index(b"\r\n") + 2] + TWO, "arc-seal occurs twice in set 2"),
    "instance 0": (lambda: ONE_MORE % 0 + TWO, "arc-seal has no valid instance"),
    "instance 51": (lambda: ONE_MORE % 51 + TWO, "arc-seal has no valid instance"),
    "first passes": (lambda: first(seal={"cv": "pass"}), "the seal of set 1 does not say cv=none"),
    "second none": (lambda: second(seal={"cv": "none"}), "the seal of set 2 does not say cv=pass"),
    "second fails": (lambda: second(seal={"cv": "fail"}), "the seal of set 2 does not say cv=pass"),
    "no cv": (lambda: first(seal={"cv": None}), "the seal of set 1 does not say cv=none"),
    "h in seal": (lambda: first(seal={"h": "from"}), "a seal has h="),
    "seal signed": (lambda: first(signature={"h": "from:arc-seal"}), "a signature covers a seal"),
    "sha1": (lambda: first(seal={"a": "rsa-sha1"}), "unusable seal: obsolete algorithm rsa-sha1"),
    "no domain": (lambda: first(signature={"d": None}), "unusable signature: missing d="),
    "no key for a seal": (lambda: first(seal={"d": "example.net"}), "seal of set 1: no key"),
    "no key": (lambda: first(signature={"d": "example.net"}), "signature of set 1: no key"),
    MALFORMED: (lambda: b"ARC-Seal: i\r\n" + TWO, "arc-seal: malformed tag list"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_broken_chains(name):
    make, reason = CHANGES[name]
    message = make()
    assert checked(message) == ARCResult(result="fail", reason=reason)
    assert dkimpy_says(message) == "fail" or name == MALFORMED  # dkimpy ignores such fields


def test_dns():
    found = checked(TWO, dict.fromkeys(ZONE))
    assert (found.result, found.temporary) == ("fail", True)
    assert checked(TWO, {}).reason == "signature of set 2: no key"


def test_chains_of_dkimpy():
    pem = key("rsa").private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    message = MESSAGE
    for instance in (1, 2, 3):
        fields = dkim.arc_sign(
            message, b"s-rsa", DOMAIN.encode(), pem, b"lists.example.org", timestamp="12345"
        )
        message = b"".join(fields) + message
        found = checked(message)
        assert (found.result, len(found.sealers)) == ("pass", instance), found
        message = message.replace(b"example.org; spf", b"example.org; arc=pass; spf", 1)


def test_only_the_fields_of_the_message_are_needed_to_see_that_there_is_no_chain():
    asked: list[str] = []
    evaluated(ChainVerifier(parts(MESSAGE)[0], now=NOW).evaluate(), ZONE, asked)
    assert asked == []
    assert checked(b"X: " + b"x" * 300_000 + b"\r\n" + TWO).reason == "header of more than 262144 octets"
