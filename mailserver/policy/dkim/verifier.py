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
from mailserver.policy.dkim.results import DKIMResult, DKIMResultWord, UnusableSignature
from mailserver.policy.dkim.signature import (
    Signature,
    read_algorithm,
    read_domain,
    read_selector,
    read_signature,
)
from mailserver.policy.dkim.tags import read_tags, without_signature
from mailserver.policy.questions import Evaluation, PolicyQuestion, PolicyReply

MAX_SIGNATURES = 8
"""The signatures of a message that are checked, from the top. The others are ignored."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_SHOWN = 8  # characters of a signature that tell it from others (RFC 6008 section 4)


@attrs.frozen
class _Claim:
    """A signature of the message that its key decides. ``question`` is that for the key, and ``shown`` the
    beginning of the value in base64."""

    field: HeadField
    signature: Signature
    question: PolicyQuestion
    shown: str

    def result(
        self, word: DKIMResultWord, reason: str = "", *, testing: bool = False, partial: bool = False
    ) -> DKIMResult:
        """The result of this signature."""
        return DKIMResult(
            result=word,
            reason=reason,
            domain=self.signature.domain,
            selector=self.signature.selector,
            identity=self.signature.identity,
            algorithm=self.signature.algorithm,
            signature=self.shown,
            testing=testing,
            partial=partial,
        )


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
        if self._pending:
            replies = yield tuple(dict.fromkeys([claim.question for claim in self._pending]))
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
        reply = replies[claim.question]
        if reply.failed:
            return claim.result("temperror", "key could not be looked up")
        testing = False
        try:
            key = choose_key(reply.records, claim.signature.algorithm)
            testing = key.testing
            if key.exact and claim.signature.identity.rpartition("@")[2].lower() != claim.signature.domain:
                raise UnusableSignature("permerror", "i= is not in the domain d= itself")
            check_signature(claim.signature, claim.field, self._head, key, hashes)
        except UnusableSignature as problem:
            if testing and problem.result == "fail":
                return claim.result("neutral", f"{problem.reason}, in a test", testing=True)
            return claim.result(problem.result, problem.reason, testing=testing)
        form = claim.signature.body
        partial = form.length is not None and hashes[form] != hashes[BodyForm(form.relaxed)]
        return claim.result("pass", testing=testing, partial=partial)


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
    itself = without_signature(field.raw)
    signed = head.covered(signature.fields, relaxed, without=field)
    signed += relaxed_field(itself) if relaxed else itself
    if not key.verifies(signature.value, hashlib.sha256(signed).digest()):
        raise UnusableSignature("fail", "signature does not match")


def _read(field: HeadField, now: float) -> _Claim | DKIMResult:
    try:
        tags = read_tags(field.value)
    except ValueError as problem:
        return DKIMResult(result="neutral", reason=str(problem))
    try:
        signature = read_signature(tags, now)
    except UnusableSignature as problem:
        return _unusable(tags, problem)
    return _Claim(field, signature, PolicyQuestion(signature.key_name), _shown(tags))


def _unusable(tags: Mapping[str, bytes], problem: UnusableSignature) -> DKIMResult:
    """The result with what the tags say about the signature, as far as they can be read."""
    domain = selector = algorithm = ""
    with suppress(UnusableSignature, KeyError):
        domain = read_domain(tags)
    with suppress(UnusableSignature, KeyError):
        selector = read_selector(tags)
    with suppress(UnusableSignature, KeyError):
        algorithm = read_algorithm(tags)
    return DKIMResult(
        result=problem.result,
        reason=problem.reason,
        domain=domain,
        selector=selector,
        algorithm=algorithm,
        signature=_shown(tags),
    )


def _shown(tags: Mapping[str, bytes]) -> str:
    """The beginning of the value, "" if it is malformed."""
    value = b"".join(tags.get("b", b"").split())
    return value[:_SHOWN].decode() if _BASE64.fullmatch(value) else ""
