"""Messages for the checks of senders: any header, and signatures with any tags."""

import base64

from mailserver.policy.dkim.body import BodyForm, BodyHashes
from mailserver.policy.dkim.head import MessageHead, relaxed_field
from mailserver.policy.dkim.keys import KeyKind, key_record
from mailserver.policy.dkim.signer import Signer
from tests.support.dkim import key, parts

BODY = b"Hello,\r\n\r\nthis is a message.\r\n"
FOOTER = b"-- \r\nSent to all members of the club.\r\n"
FIELDS = (
    b"To: alice@example.org", b"Subject: hello", b"Date: Mon, 2 Nov 2026 12:00:00 +0000",
    b"Message-ID: <1@good.example>",
)  # fmt: skip


def mail(author: str | None = "a@good.example", *fields: str, body: bytes = BODY) -> bytes:
    """A message; ``author`` is the value of From, None for a message without that field."""
    head = [] if author is None else [f"From: {author}".encode()]
    return b"\r\n".join([*head, *(field.encode() for field in fields), *FIELDS, b"", body])


def dkim(
    message: bytes,
    domain: str = "good.example",
    kind: KeyKind = "rsa",
    *,
    selector: str = "",
    covered: str = "from:to:subject:date",
    tags: str = "",
    length: bool = False,
) -> bytes:
    """The message with a signature on top. ``tags`` are further ones. ``length``: with l= for all of it."""
    head, body = parts(message)
    form = BodyForm(relaxed=True)
    hashes = BodyHashes([form])
    hashes.feed(body)
    if length:
        tags += f" l={len(body)};"
    bh = base64.b64encode(hashes.finish()[form]).decode()
    raw = (
        f"DKIM-Signature: v=1; a={kind}-sha256; c=relaxed/relaxed; d={domain}; s={selector or kind};{tags} "
        f"h={covered}; bh={bh}; b="
    ).encode()
    signed = MessageHead(head).covered([name.encode() for name in covered.split(":")], relaxed=True)
    value = Signer(domain, selector or kind, key(kind)).sign(signed + relaxed_field(raw))
    return raw + base64.b64encode(value) + b"\r\n" + message


def arc(message: bytes, sealer: str, results: str, *, tags: str = "") -> bytes:
    """The message with the first set of ARC fields on top."""
    head, body = parts(message)
    form = BodyForm(relaxed=True)
    hashes = BodyHashes([form])
    hashes.feed(body)
    bh = base64.b64encode(hashes.finish()[form]).decode()
    signer = Signer(sealer, "rsa", key("rsa"))
    common = f"i=1; a=rsa-sha256; d={sealer}; s=rsa;"
    aar = f"ARC-Authentication-Results: i=1; {results}".encode()
    ams = f"ARC-Message-Signature: {common} c=relaxed/relaxed; h=from:to:subject; bh={bh}; b=".encode()
    signed = MessageHead(head).covered([b"from", b"to", b"subject"], relaxed=True)
    ams += base64.b64encode(signer.sign(signed + relaxed_field(ams)))
    seal = f"ARC-Seal: {common} cv=none; t=1700000000;{tags} b=".encode()
    chain = b"".join(relaxed_field(one) + b"\r\n" for one in (aar, ams)) + relaxed_field(seal)
    seal += base64.b64encode(signer.sign(chain))
    return b"\r\n".join([seal, ams, aar, message])


def key_text(kind: KeyKind = "rsa", more: str = "") -> str:
    """The text of a key record."""
    return key_record(key(kind)) + more


def txt(name: str, text: str) -> str:
    """A line of a zone with a TXT record."""
    strings = [text[at : at + 255] for at in range(0, len(text), 255)] or [""]
    return f"{name} TXT " + " ".join(f'"{one}"' for one in strings)
