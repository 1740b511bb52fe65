"""A sealer of ARC for tests, which can make every mistake."""

import base64
from collections.abc import Iterable

from mailserver.policy.arc.verifier import ARCResult, ChainVerifier
from mailserver.policy.dkim.body import BodyForm, BodyHashes
from mailserver.policy.dkim.head import MessageHead, relaxed_field
from mailserver.policy.dkim.keys import KeyKind
from mailserver.policy.dkim.tags import read_list
from tests.support.dkim import DOMAIN, NOW, ZONE, Zone, evaluated, in_chunks, parts, signer

MESSAGE = (
    b"Authentication-Results: lists.example.org; spf=pass smtp.mailfrom=a@example.org\r\n"
    b"From: a@example.org\r\nTo: b@example.com\r\nSubject: one\r\nDate: now\r\nMessage-ID: <1@x>\r\n"
    b"\r\nText.\r\n"
)
Tags = dict[str, str | None]  # None: the tag is left out
RESULTS, SIGNATURE, SEAL = "ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"


def checked(message: bytes, zone: Zone = ZONE, cuts: Iterable[int] = ()) -> ARCResult:
    head, body = parts(message)
    verifier = ChainVerifier(head, now=NOW)
    for chunk in in_chunks(body, cuts):
        verifier.feed(chunk)
    return evaluated(verifier.evaluate(), zone)


def sealed(
    message: bytes,
    instance: int,
    *,
    kind: KeyKind = "rsa",
    results: bytes = b"i=%d; forwarder%d; spf=pass",
    signature: Tags | None = None,
    seal: Tags | None = None,
) -> bytes:
    """The message with one more set. ``signature`` and ``seal`` change tags of these fields."""
    head, body = parts(message)
    older = MessageHead(head)
    usual: Tags = {"i": str(instance), "a": f"{kind}-sha256", "s": f"s-{kind}", "d": DOMAIN}
    tags: Tags = {**usual, "c": "relaxed/relaxed", "h": "from:to:subject", **(signature or {})}
    header_form, _, body_form = (tags["c"] or "").partition("/")
    form = BodyForm(relaxed=body_form == "relaxed")
    hashes = BodyHashes([form])
    hashes.feed(body)
    tags = {"bh": base64.b64encode(hashes.finish()[form]).decode(), **tags}
    relaxed = header_form == "relaxed"
    covered = older.covered(read_list((tags["h"] or "").encode()), relaxed)
    new = [RESULTS.encode() + b": " + (results % (instance, instance) if b"%d" in results else results)]
    new.append(_field(SIGNATURE, tags, kind, covered, relaxed))
    sets = zip(
        *(reversed(older.named(name.lower().encode())) for name in (RESULTS, SIGNATURE, SEAL)), strict=True
    )
    chain = b"".join(relaxed_field(one.raw) + b"\r\n" for fields in sets for one in fields)
    chain += b"".join(relaxed_field(one) + b"\r\n" for one in new)
    status = "none" if instance == 1 else "pass"
    new.append(_field(SEAL, {**usual, "cv": status, "t": "12345", **(seal or {})}, kind, chain))
    return b"".join(one + b"\r\n" for one in reversed(new)) + message


def _field(name: str, tags: Tags, kind: KeyKind, covered: bytes, relaxed: bool = True) -> bytes:
    given = {tag: value for tag, value in tags.items() if value is not None}
    text = "; ".join(f"{tag}={value}" for tag, value in given.items())
    raw = f"{name}: {text}; b=".encode()
    value = signer(kind).sign(covered + (relaxed_field(raw) if relaxed else raw))
    return raw if "b" in given else raw + base64.b64encode(value)


def chain(length: int, kind: KeyKind = "rsa") -> bytes:
    message = MESSAGE
    for instance in range(1, length + 1):
        message = sealed(b"Received: by forwarder%d\r\n" % instance + message, instance, kind=kind)
    return message


def first(**changed: Tags) -> bytes:
    return sealed(MESSAGE, 1, signature=changed.get("signature"), seal=changed.get("seal"))


def second(**changed: Tags) -> bytes:
    return sealed(first(), 2, signature=changed.get("signature"), seal=changed.get("seal"))
