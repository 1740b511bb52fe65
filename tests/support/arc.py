"""A sealer of ARC for tests, which can make every mistake."""

import base64
from collections.abc import Iterable

from mailserver.policy.arc.verifier import ARCResult, ChainVerifier
from mailserver.policy.dkim.body import BodyForm, BodyHashes
from mailserver.policy.dkim.head import MessageHead, relaxed_field
from mailserver.policy.dkim.keys import KeyKind
from mailserver.policy.dkim.signer import Signer
from mailserver.policy.dkim.tags import read_list
from tests.support.dkim import DOMAIN, NOW, ZONE, Zone, evaluated, in_chunks, parts, signer

MESSAGE = (
    b"Authentication-Results: lists.example.org; spf=pass smtp.mailfrom=a@example.org\r\n"
    b"From: a@example.org\r\nTo: b@example.com\r\nSubject: one\r\nDate: now\r\nMessage-ID: <1@x>\r\n"
    b"\r\nText.\r\n"
)
Tags = dict[str, str | None]  # None: the tag is left out
# What stands between tags, between the name and the value of a tag, and at the end of a field.
Layout = tuple[str, str, str]
USUAL: Layout = ("; ", "=", "")
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
    signature_layout: Layout = USUAL,
    seal_layout: Layout = USUAL,
    sealer: Signer | None = None,
    fold: str = "",
) -> bytes:
    """The message with one more set. ``signature`` and ``seal`` change tags of these fields. A tag b of them
    takes the place of the real one. ``sealer`` has another key for the seal. ``fold`` is the field
    whose signature has white space in it."""
    head, body = parts(message)
    older = MessageHead(head)
    usual: Tags = {"i": str(instance), "a": f"{kind}-sha256", "s": f"s-{kind}", "d": DOMAIN}
    tags: Tags = {**usual, "c": "relaxed/relaxed", "h": "from:to:subject", **(signature or {})}
    form_of_all = "relaxed/relaxed" if tags["c"] is None else tags["c"]
    header_form, _, body_form = form_of_all.partition("/")
    form = BodyForm(relaxed=body_form == "relaxed")
    hashes = BodyHashes([form])
    hashes.feed(body)
    tags = {"bh": base64.b64encode(hashes.finish()[form]).decode(), **tags}
    relaxed = header_form == "relaxed"
    covered = older.covered(read_list((tags["h"] or "").encode()), relaxed)
    new = [RESULTS.encode() + b": " + (results % (instance, instance) if b"%d" in results else results)]
    made = _field(SIGNATURE, tags, signer(kind), covered, relaxed, signature_layout)
    new.append(_folded(made) if fold == SIGNATURE else made)
    sets = zip(
        *(reversed(older.named(name.lower().encode())) for name in (RESULTS, SIGNATURE, SEAL)), strict=True
    )
    chain = b"".join(relaxed_field(one.raw) + b"\r\n" for fields in sets for one in fields)
    chain += b"".join(relaxed_field(one) + b"\r\n" for one in new)
    status = "none" if instance == 1 else "pass"
    seal = {**usual, "cv": status, "t": "12345", **(seal or {})}
    made = _field(SEAL, seal, sealer or signer(kind), chain, layout=seal_layout)
    new.append(_folded(made) if fold == SEAL else made)
    return b"".join(one + b"\r\n" for one in reversed(new)) + message


def _field(
    name: str, tags: Tags, by: Signer, covered: bytes, relaxed: bool = True, layout: Layout = USUAL
) -> bytes:
    between, equals, end = layout
    given = [f"{tag}{equals}{value}" for tag, value in tags.items() if value is not None]
    if "b" in tags:
        return f"{name}: {between.join(given)}{end}".encode()
    before = f"{name}: {between.join(given)}{between}b{equals}"
    raw = (before + end).encode()
    value = by.sign(covered + (relaxed_field(raw) if relaxed else raw))
    return before.encode() + base64.b64encode(value) + end.encode()


def _folded(raw: bytes) -> bytes:
    before, tag, value = raw.rpartition(b"; b=")
    return before + tag + fold(value)


def fold(value: bytes) -> bytes:
    """The value with white space in it."""
    return value[:9] + b" \r\n\t" + value[9:30] + b"  " + value[30:]


def without(message: bytes, name: str, instance: int) -> bytes:
    """The message without one field of ARC."""
    head, body = parts(message)
    kept = [raw for raw in MessageHead(head).raw if not _is_one(raw, name, instance)]
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


def field(message: bytes, name: str, instance: int) -> bytes:
    """One field of ARC, with its CRLF."""
    found = MessageHead(parts(message)[0]).raw
    return next(raw for raw in found if _is_one(raw, name, instance)) + b"\r\n"


def _is_one(raw: bytes, name: str, instance: int) -> bool:
    return raw.lower().startswith(f"{name}:".lower().encode()) and b"i=%d;" % instance in raw


def chain(length: int, kind: KeyKind = "rsa") -> bytes:
    message = MESSAGE
    for instance in range(1, length + 1):
        message = sealed(b"Received: by forwarder%d\r\n" % instance + message, instance, kind=kind)
    return message


def first(**changed: Tags) -> bytes:
    return sealed(MESSAGE, 1, signature=changed.get("signature"), seal=changed.get("seal"))


def second(**changed: Tags) -> bytes:
    return sealed(first(), 2, signature=changed.get("signature"), seal=changed.get("seal"))
