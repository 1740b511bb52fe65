"""The structure of an ARC chain: its sets, with three header fields each (RFC 8617 sections 4.1 and 4.2).

ARC-Authentication-Results = instance [CFWS] ";" authres-payload
ARC-Message-Signature      = tag-list       ; as DKIM-Signature, but i=INSTANCE, and no v=
ARC-Seal                   = tag-list       ; i=INSTANCE a= b= cv=none/pass/fail d= s= t=
instance                   = [CFWS] "i" [CFWS] "=" [CFWS] 1*2DIGIT
"""

import re
from collections.abc import Mapping, Sequence

import attrs

from mailserver.policy.dkim.head import HeadField, MessageHead
from mailserver.policy.dkim.results import UnusableSignature
from mailserver.policy.dkim.signature import (
    Signature,
    check_times,
    key_name,
    read_algorithm,
    read_domain,
    read_message_signature,
    read_selector,
    require,
)
from mailserver.policy.dkim.tags import read_base64, read_tags

MAX_SETS = 50  # section 4.2.1

_RESULTS, _SIGNATURE, _SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"
_INSTANCE = re.compile(rb"[1-9][0-9]?")
_RESULTS_INSTANCE = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([1-9][0-9]?)[ \t\r\n]*;")


class BrokenChain(Exception):
    """The chain is not valid. The text says why, in one line."""


@attrs.frozen
class ARCSeal:
    """The values of an ARC-Seal field."""

    algorithm: str
    domain: str
    selector: str
    value: bytes

    @property
    def key_name(self) -> str:
        """The domain name of the key record."""
        return key_name(self.selector, self.domain)


@attrs.frozen
class ARCSet:
    """The three fields that one forwarder has added."""

    results: HeadField
    signature: HeadField
    seal: HeadField


def read_chain(head: MessageHead) -> tuple[ARCSet, ...]:
    """The sets of a message from the first one on, none without ARC. Raises :class:`BrokenChain`."""
    by_name = {name: _by_instance(head.named(name)) for name in (_RESULTS, _SIGNATURE, _SEAL)}
    length = max(map(len, by_name.values()))
    sets = []
    for instance in range(1, length + 1):
        results, signature, seal = (found.get(instance) for found in by_name.values())
        if results is None or signature is None or seal is None:
            raise BrokenChain(f"set {instance} is not complete")
        sets.append(ARCSet(results, signature, seal))
    for instance, one in enumerate(sets, start=1):
        status = _tags(one.seal).get("cv", b"").lower()
        if status != (b"none" if instance == 1 else b"pass"):
            raise BrokenChain(
                f"the seal of set {instance} does not say cv={'none' if instance == 1 else 'pass'}"
            )
    return tuple(sets)


def read_seal(field: HeadField, now: float) -> ARCSeal:
    """The values of a seal. Raises :class:`BrokenChain`."""
    tags = _tags(field)
    if "h" in tags:
        raise BrokenChain("a seal has h=")
    try:
        require(tags, "a", "b", "d", "s")
        check_times(tags, now)
        seal = ARCSeal(read_algorithm(tags), read_domain(tags), read_selector(tags), read_base64(tags["b"]))
    except UnusableSignature as problem:
        raise BrokenChain(f"unusable seal: {problem.reason}") from None
    except ValueError:
        raise BrokenChain("unusable seal: malformed b=") from None
    return seal


def read_arc_signature(field: HeadField, now: float) -> Signature:
    """The values of an ARC-Message-Signature. Raises :class:`BrokenChain`."""
    tags = _tags(field)
    try:
        require(tags, "a", "b", "bh", "d", "h", "s")
        # Without c= the form is relaxed, as in the drafts of ARC: the public tests want that.
        signature = read_message_signature({"c": b"relaxed/relaxed", **tags}, "", now)
    except UnusableSignature as problem:
        raise BrokenChain(f"unusable signature: {problem.reason}") from None
    if _SEAL in signature.fields:
        raise BrokenChain("a signature covers a seal")
    return signature


def _tags(field: HeadField) -> Mapping[str, bytes]:
    try:
        return read_tags(field.value)
    except ValueError as problem:
        raise BrokenChain(f"{field.name.decode()}: {problem}") from None


def _by_instance(fields: Sequence[HeadField]) -> dict[int, HeadField]:
    found: dict[int, HeadField] = {}
    for field in fields:
        if field.name == _RESULTS:
            number = _RESULTS_INSTANCE.match(field.value)
        else:
            number = _INSTANCE.fullmatch(_tags(field).get("i", b""))
        instance = int(number[number.lastindex or 0]) if number else 0
        if not 1 <= instance <= MAX_SETS:
            raise BrokenChain(f"{field.name.decode()} has no valid instance")
        if instance in found:
            raise BrokenChain(f"{field.name.decode()} occurs twice in set {instance}")
        found[instance] = field
    return found
