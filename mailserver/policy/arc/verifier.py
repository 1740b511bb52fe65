"""Validates the ARC chain of one message (RFC 8617 section 5.2).

It is used like :class:`mailserver.policy.dkim.verifier.Verifier`: the header first, then the body in chunks.
"""

import hashlib
from collections.abc import Mapping
from typing import Literal

import attrs

from mailserver.policy.arc.chain import (
    ARCSeal,
    ARCSet,
    BrokenChain,
    read_arc_signature,
    read_chain,
    read_seal,
)
from mailserver.policy.dkim.body import BodyForm, BodyHashes
from mailserver.policy.dkim.head import MAX_HEAD, message_head, relaxed_field
from mailserver.policy.dkim.key_record import choose_key
from mailserver.policy.dkim.results import UnusableSignature
from mailserver.policy.dkim.signature import Signature
from mailserver.policy.dkim.tags import without_signature
from mailserver.policy.dkim.verifier import check_signature
from mailserver.policy.questions import Evaluation, PolicyQuestion, PolicyReply


@attrs.frozen(kw_only=True)
class ARCResult:
    """The status of the chain: "none" if the message has no ARC fields.

    ``sealers`` are the domains of the seals of a valid chain, from the first forwarder to the last one, and
    ``results`` what each has found, the octets of its ARC-Authentication-Results after the name of the field.
    Every forwarder vouches for the results of those before it. ``reason`` says in one line why a chain fails.
    ``temporary``: it failed because DNS gave no answer, which RFC 8617 section 5.2.1 makes a failure as well.
    """

    result: Literal["none", "pass", "fail"]
    reason: str = ""
    sealers: tuple[str, ...] = ()
    results: tuple[bytes, ...] = ()
    temporary: bool = False


class ChainVerifier:
    """The ARC chain of one message."""

    def __init__(self, head: bytes, *, now: float) -> None:
        """``head``: the octets of the header. ``now``: the time in seconds since the epoch."""
        self._head = message_head(head)
        self._sets: tuple[ARCSet, ...] = ()
        self._seals: list[ARCSeal] = []
        self._signature: Signature | None = None
        self._problem = f"header of more than {MAX_HEAD} octets" if self._head.is_too_large else ""
        try:
            self._sets = read_chain(self._head)
            self._seals = [read_seal(one.seal, now) for one in self._sets]
            if self._sets:
                self._signature = read_arc_signature(self._sets[-1].signature, now)
        except BrokenChain as problem:
            self._problem = str(problem)
        self._body = BodyHashes([self._signature.body] if self._signature else [])

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the body. It ends before the replies to :meth:`evaluate`."""
        self._body.feed(chunk)

    def evaluate(self) -> Evaluation[ARCResult]:
        """The status of the chain."""
        if self._problem:
            return ARCResult(result="fail", reason=self._problem)
        if self._signature is None:
            return ARCResult(result="none")
        names = dict.fromkeys([self._signature.key_name, *(seal.key_name for seal in self._seals)])
        replies = yield tuple(map(PolicyQuestion, names))
        if any(reply.failed for reply in replies.values()):
            return ARCResult(result="fail", reason="key could not be looked up", temporary=True)
        hashes = self._body.finish()
        last = len(self._sets)
        try:
            self._check_signature(self._signature, replies, hashes)
        except UnusableSignature as problem:
            return ARCResult(result="fail", reason=f"signature of set {last}: {problem.reason}")
        # A seal covers all sets up to its own (section 5.1.1), so one hash can grow from seal to seal.
        covered = hashlib.sha256()
        for instance, (one, seal) in enumerate(zip(self._sets, self._seals, strict=True), start=1):
            covered.update(
                b"".join(relaxed_field(field.raw) + b"\r\n" for field in (one.results, one.signature))
            )
            own = covered.copy()
            own.update(relaxed_field(without_signature(one.seal.raw)))
            try:
                _check_seal(seal, own.digest(), replies)
            except UnusableSignature as problem:
                return ARCResult(result="fail", reason=f"seal of set {instance}: {problem.reason}")
            covered.update(relaxed_field(one.seal.raw) + b"\r\n")
        return ARCResult(
            result="pass",
            sealers=tuple(seal.domain for seal in self._seals),
            results=tuple(one.results.value for one in self._sets),
        )

    def _check_signature(
        self,
        signature: Signature,
        replies: Mapping[PolicyQuestion, PolicyReply],
        hashes: Mapping[BodyForm, bytes],
    ) -> None:
        records = replies[PolicyQuestion(signature.key_name)].records
        key = choose_key(records, signature.algorithm)
        check_signature(signature, self._sets[-1].signature, self._head, key, hashes)


def _check_seal(seal: ARCSeal, digest: bytes, replies: Mapping[PolicyQuestion, PolicyReply]) -> None:
    """Raise :class:`UnusableSignature` if a seal is not one of what has this hash."""
    key = choose_key(replies[PolicyQuestion(seal.key_name)].records, seal.algorithm)
    if not key.verifies(seal.value, digest):
        raise UnusableSignature("fail", "signature does not match")
