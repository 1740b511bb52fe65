"""Whatever a stranger sends, and whatever DNS says: the checks of signatures have a result."""

from functools import cache
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from mailserver.policy.arc.verifier import ChainVerifier
from mailserver.policy.authentication_results import MessageAuthentication, authentication_results
from mailserver.policy.dkim.results import DKIMResultWord
from mailserver.policy.dkim.signer import why_not_signed
from mailserver.policy.dkim.verifier import Verifier
from mailserver.policy.dmarc.evaluator import evaluate_dmarc
from mailserver.policy.questions import PolicyQuestion, PolicyReply
from tests.support.dkim import NOW, ZONE, evaluated, parts, signed

ARC = (
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=example.org; s=s-rsa; t=1; b=AAAA\r\n"
    b"ARC-Message-Signature: i=1; a=rsa-sha256; d=example.org; s=s-rsa; h=from; bh=AAAA; b=AAAA\r\n"
    b"ARC-Authentication-Results: i=1; x; none\r\n"
)
RECORDS = [
    *next(iter(ZONE.values())),
    b"v=DKIM1; k=rsa; h=sha256; s=email; t=y:s; p=",
    b"v=DMARC1; p=reject; sp=none; np=x; t=y; psd=u",
]
TOKENS = [b";", b"=", b":", b"@", b".", b"<", b"(", b'"', b"i=1;", b"l=9"]
BLANKS = [b" ", b"\r\n", b"\r\n ", b"\r\n\r\n", b"\n", b"\0", b"\xff"]
PIECES = st.sampled_from(TOKENS + BLANKS) | st.binary(max_size=4)
CHANGES = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 20), PIECES), max_size=4)


@cache
def message() -> bytes:
    return ARC + signed(b"From: A <a@example.org>\r\nTo: b@example.com\r\n\r\nText\r\n", "ed25519", "rsa")


def changed(octets: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, piece in changes:
        at %= len(octets) + 1
        octets = octets[:at] + piece + octets[at + length :]
    return octets


class AnyZone(dict[str, tuple[bytes, ...]]):
    """Each name has the same records."""

    def __missing__(self, name: str) -> tuple[bytes, ...]:
        return self["any"]

    def __contains__(self, name: object) -> bool:
        return True


@given(CHANGES, CHANGES, st.sampled_from(RECORDS), st.booleans())
def test_any_message(changes, record_changes, record, from_dns):
    head, body = parts(changed(message(), changes))
    zone = AnyZone(any=(changed(record, record_changes),)) if from_dns else ZONE
    why_not_signed(head)
    verifier, chain = Verifier(head, now=NOW), ChainVerifier(head, now=NOW)
    verifier.feed(body)
    chain.feed(body)
    dkim, arc = evaluated(verifier.evaluate(), zone), evaluated(chain.evaluate(), zone)
    passed = [one.domain for one in dkim if one.result == "pass"]
    dmarc = evaluated(evaluate_dmarc(head, spf="example.org", dkim=passed), zone)
    assert all(one.result in get_args(DKIMResultWord) for one in dkim)
    field = authentication_results("mx.example.org", MessageAuthentication(dkim=dkim, arc=arc, dmarc=dmarc))
    assert field.isascii() and field.count(b"\r\n") == field.count(b"\r\n\t") + 1


def test_answers_may_be_of_any_kind():
    question = PolicyQuestion("s-rsa._domainkey.example.org")
    for records in ((b"",), (b"\xff" * 70_000,), (b"v=DKIM1; p=" + b"A" * 65_000,), tuple([b"p=x"] * 500)):
        verifier = Verifier(parts(message())[0], now=NOW)
        evaluation = verifier.evaluate()
        replies = {one: PolicyReply(records if one == question else ()) for one in next(evaluation)}
        try:
            evaluation.send(replies)
        except StopIteration as end:
            assert {one.result for one in end.value} == {"permerror"}
