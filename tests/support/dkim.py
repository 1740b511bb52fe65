"""Keys, zones and messages for tests of signatures, and the loop that answers the questions of a check."""

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from random import Random
from typing import TypeVar

import dkim

from mailserver.policy.dkim.keys import KeyKind, SigningKey, key_record, make_key
from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dkim.signer import MessageSigning, Signer
from mailserver.policy.dkim.verifier import Verifier
from mailserver.policy.questions import Evaluation, PolicyQuestion, PolicyReply

DOMAIN = "example.org"
NOW = 1_700_000_000.0
Zone = Mapping[str, Iterable[bytes] | None]  # None: the look-up fails
Result = TypeVar("Result")


@cache
def key(kind: KeyKind) -> SigningKey:
    return make_key(kind)


def signer(kind: KeyKind) -> Signer:
    return Signer(DOMAIN, f"s-{kind}", key(kind))


def zone_of(*kinds: KeyKind) -> dict[str, list[bytes]]:
    return {f"s-{kind}._domainkey.{DOMAIN}": [key_record(key(kind)).encode()] for kind in kinds}


ZONE = zone_of("rsa", "ed25519")


def reply_to(question: PolicyQuestion, zone: Zone) -> PolicyReply:
    if question.name in zone:
        records = zone[question.name]
        return PolicyReply(failed=True) if records is None else PolicyReply(tuple(records))
    return PolicyReply(exists=any(name.endswith(f".{question.name}") for name in zone))


def evaluated(evaluation: Evaluation[Result], zone: Zone, asked: list[str] | None = None) -> Result:
    """The result of a check, with the answers of a zone. ``asked`` gets the names of all questions."""
    try:
        questions = next(evaluation)
        while True:
            if asked is not None:
                asked += [question.name for question in questions]
            questions = evaluation.send({question: reply_to(question, zone) for question in questions})
    except StopIteration as end:
        return end.value


def parts(message: bytes) -> tuple[bytes, bytes]:
    """Header and body."""
    head, _, body = message.partition(b"\r\n\r\n")
    return head + b"\r\n", body


def in_chunks(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    return [body[begin:end] for begin, end in pairwise(places)]


def verified(
    message: bytes, zone: Zone = ZONE, *, now: float = NOW, cuts: Iterable[int] = ()
) -> tuple[DKIMResult, ...]:
    head, body = parts(message)
    verifier = Verifier(head, now=now)
    for chunk in in_chunks(body, cuts):
        verifier.feed(chunk)
    return evaluated(verifier.evaluate(), zone)


def signed(
    message: bytes, *kinds: KeyKind, now: float = NOW, cuts: Iterable[int] = (), by: Signer | None = None
) -> bytes:
    head, body = parts(message)
    signing = MessageSigning(head, [by] if by else [signer(kind) for kind in kinds], now=now)
    for chunk in in_chunks(body, cuts):
        signing.feed(chunk)
    return signing.finish() + message


def dkimpy_lookup(name: bytes, timeout: int = 5) -> bytes | None:
    """A record of :data:`ZONE`, for dkimpy."""
    return next(iter(ZONE.get(name.decode().rstrip("."), ())), None)


def dkimpy_verifies(message: bytes, at: int) -> bool:
    """What dkimpy says of the signature at this place, with the keys of :data:`ZONE`."""
    return bool(dkim.DKIM(message).verify(at, dnsfunc=dkimpy_lookup))


_WORDS = [
    b"word", b"two  blanks", b"tab\there", b" ", b"\t ", b"gr\xc3\xbc\xc3\x9fe", b"\xff\xfe", b".", b"=20",
    b"x" * 80, b"b=abc;", b"\x0b\x01", b"a:b", b"",
]  # fmt: skip
_NAMES = [b"X-Test", b"Received", b"x-TEST", b"List-Id", b"Sender", b"References"]
_USUAL = [
    b"From: A <a@example.org>", b"To:b@example.com,\r\n\t c@example.com", b"Subject:  folded \r\n  subject\t",
    b"DATE:Mon, 1 Jan 2024 00:00:00 +0000", b"Message-ID: <1@example.org>", b"subject: another",
    b"MIME-Version: 1.0", b"Content-Type: text/plain;\r\n charset=utf-8",
]  # fmt: skip


def random_message(random: Random) -> bytes:
    """A message with odd white space, folded fields, octets of any kind, and a body that may be empty."""
    fields = [_USUAL[0], *(field for field in _USUAL[1:] if random.random() < 0.7)]
    for _ in range(random.randrange(4)):
        # Each line begins and ends with a letter: dkimpy takes more than blanks and tabs for white.
        lines = [b"x" + _text(random) + b"x" for _ in range(random.randrange(1, 4))]
        blank = random.choice((b"", b" ", b"\t  "))
        fields.append(
            random.choice(_NAMES) + b":" + blank + random.choice((b"\r\n ", b" \r\n\t ")).join(lines)
        )
    random.shuffle(fields)
    lines = [_text(random) for _ in range(random.choice((0, 0, 1, 2, 5, 30)))]
    lines += [b""] * random.choice((0, 0, 1, 3))
    body = b"".join(line + b"\r\n" for line in lines)
    # A last line without CRLF. White space at its end is left out: what it means is not agreed on.
    body += random.choice((b"", b"", b"the end"))
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


def _text(random: Random) -> bytes:
    return b" ".join(random.choice(_WORDS) for _ in range(random.randrange(5)))
