"""Checks the DKIM signatures of one message (RFC 6376 section 6).

The header comes first, then the body in chunks. The keys may be looked up while the body arrives:

    verifier = Verifier(head, now=time)
    evaluation = verifier.evaluate()
    questions = next(evaluation)           # StopIteration, with the results, if there is nothing to ask
    for chunk in body: verifier.feed(chunk)
    evaluation.send(replies)               # StopIteration, with the results
"""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress

import attrs

from mailserver.policy.dkim.body import BodyForm, BodyHashes
from mailserver.policy.dkim.head import MAX_HEAD, HeadField, MessageHead, message_head, relaxed_field
from mailserver.policy.dkim.key_record import DKIMKey, choose_key
from mailserver.policy.dkim.results import DKIMResult, UnusableSignature
from mailserver.policy.dkim.signature import (
    Signature,
    read_algorithm,
    read_domain,
    read_selector,
    read_signature,
)
from mailserver.policy.dkim.tags import read_tags, without_value
from mailserver.policy.questions import Evaluation, PolicyQuestion, PolicyReply

MAX_SIGNATURES = 8
"""The signatures of a message that are checked, from the top. The others are ignored."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_SHOWN = 8  # characters of a signature that tell it from others (RFC 6008 section 4)


@attrs.frozen
class _Claim:
    """A signature of the message that its key decides, and what its result says whatever that is."""

    field: HeadField
    signature: Signature
    known: DKIMResult


class Verifier:
    """The signatures of one message."""

    def __init__(self, head: bytes, *, now: float) -> None:
        """``head``: the octets of the header. ``now``: the time in seconds since the epoch."""
        self._head = message_head(head)
        # What is not decided by the header needs a key.
        self._claims: list[_Claim | DKIMResult] = []
        if self._head.is_too_large:
            reason = f"header of more than {MAX_HEAD} octets"
            self._claims.append(DKIMResult(result="policy", reason=reason))
        for field in self._head.named(b"dkim-signature")[:MAX_SIGNATURES]:
            self._claims.append(_read(field, now))
        self._pending = [claim for claim in self._claims if isinstance(claim, _Claim)]
        self._bodies = BodyHashes(claim.signature.body for claim in self._pending)

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the body. It ends before the replies to :meth:`evaluate`."""
        self._bodies.feed(chunk)

    def evaluate(self) -> Evaluation[tuple[DKIMResult, ...]]:
        """The results, in the order of the signatures from the top; none without a signature."""
        replies: Mapping[PolicyQuestion, PolicyReply] = {}
        asked = {claim.signature.key_name: None for claim in self._pending}
        if asked:
            replies = yield tuple(map(PolicyQuestion, asked))
        hashes = self._bodies.finish()
        return tuple(
            claim if isinstance(claim, DKIMResult) else self._result(claim, replies, hashes)
            for claim in self._claims
        )

    def _result(
        self,
        claim: _Claim,
        replies: Mapping[PolicyQuestion, PolicyReply],
        hashes: Mapping[BodyForm, bytes],
    ) -> DKIMResult:
        reply = replies[PolicyQuestion(claim.signature.key_name)]
        if reply.failed:
            return attrs.evolve(claim.known, result="temperror", reason="key could not be looked up")
        known = claim.known
        try:
            key = choose_key(reply.records, claim.signature.algorithm)
            known = attrs.evolve(known, testing=key.testing)
            if key.exact and claim.signature.identity.rpartition("@")[2].lower() != claim.signature.domain:
                raise UnusableSignature("permerror", "i= is not in the domain d= itself")
            check_signature(claim.signature, claim.field, self._head, key, hashes)
        except UnusableSignature as problem:
            if known.testing and problem.result == "fail":
                return attrs.evolve(known, result="neutral", reason=f"{problem.reason}, in a test")
            return attrs.evolve(known, result=problem.result, reason=problem.reason)
        form = claim.signature.body
        partial = hashes[form] != hashes[attrs.evolve(form, length=None)]
        return attrs.evolve(known, result="pass", partial=partial)


def check_signature(
    signature: Signature,
    field: HeadField,
    head: MessageHead,
    key: DKIMKey,
    hashes: Mapping[BodyForm, bytes],
) -> None:
    """Raise :class:`UnusableSignature` if the signature in ``field`` is not one of this message."""
    body_hash = hashes.get(signature.body)
    if body_hash is None:
        raise UnusableSignature("fail", "body is shorter than signed")
    if body_hash != signature.body_hash:
        raise UnusableSignature("fail", "body hash does not match")
    relaxed = signature.relaxed_header
    itself = without_value(field.raw, b"b")
    signed = head.covered(signature.fields, relaxed, without=field)
    signed += relaxed_field(itself) if relaxed else itself
    if not key.verifies(signature.value, hashlib.sha256(signed).digest()):
        raise UnusableSignature("fail", "signature does not match")


def _read(field: HeadField, now: float) -> _Claim | DKIMResult:
    try:
        tags = read_tags(field.value)
    except ValueError as problem:
        return DKIMResult(result="neutral", reason=str(problem))
    known = _known(tags)
    try:
        signature = read_signature(tags, now)
    except UnusableSignature as problem:
        return attrs.evolve(known, result=problem.result, reason=problem.reason)
    return _Claim(field, signature, attrs.evolve(known, identity=signature.identity))


def _known(tags: Mapping[str, bytes]) -> DKIMResult:
    """What the tags say about the signature, as far as they can be read."""
    domain = selector = algorithm = ""
    with suppress(UnusableSignature, KeyError):
        domain = read_domain(tags)
    with suppress(UnusableSignature, KeyError):
        selector = read_selector(tags)
    with suppress(UnusableSignature, KeyError):
        algorithm = read_algorithm(tags)
    value = b"".join(tags.get("b", b"").split())
    shown = value[:_SHOWN].decode() if _BASE64.fullmatch(value) else ""
    return DKIMResult(
        result="neutral", domain=domain, selector=selector, algorithm=algorithm, signature=shown
    )
