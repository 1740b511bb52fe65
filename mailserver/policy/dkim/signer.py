"""Signs a message with DKIM, with several keys in one pass over its body (RFC 6376 section 5).

The form is relaxed/relaxed. Each field that is signed once more than it occurs is protected against another
one being added (section 8.15).
"""

import base64
import hashlib
import re
from collections.abc import Sequence

import attrs
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from mailserver.policy.dkim.body import BodyForm, BodyHashes
from mailserver.policy.dkim.head import MAX_HEAD, MessageHead, relaxed_field
from mailserver.policy.dkim.keys import SigningKey, kind_of

NO_MORE = (
    b"from", b"to", b"cc", b"subject", b"date", b"reply-to", b"message-id", b"mime-version", b"content-type",
    b"content-transfer-encoding",
)  # fmt: skip
"""Fields that are signed, and that nobody may add or repeat."""

IF_PRESENT = (
    b"sender", b"in-reply-to", b"references", b"content-id", b"content-description", b"resent-date",
    b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-message-id", b"list-id",
    b"list-help", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-post",
    b"list-owner", b"list-archive",
)  # fmt: skip
"""Fields that are signed if the message has them. Others on the way may add them."""

_FORM = BodyForm(relaxed=True)
_LINE = 76  # columns
# A signed field with a CR or LF alone would be read in another way by many verifiers.
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@attrs.frozen
class Signer:
    """A key that signs the mail of ``domain``. Domain and ``selector`` are A-labels in lower case."""

    domain: str
    selector: str
    key: SigningKey = attrs.field(repr=False)

    @property
    def algorithm(self) -> str:
        """The value of a=."""
        return f"{kind_of(self.key)}-sha256"

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``, in octets."""
        digest = hashlib.sha256(data).digest()
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(digest, PKCS1v15(), Prehashed(SHA256()))
        return self.key.sign(digest)  # RFC 8463 section 3


def why_not_signed(head: bytes) -> str | None:
    """Why a message with this header cannot be signed, None if it can.

    A message has exactly one From (RFC 5322 section 3.6). Readers show one of several, and verifiers check
    another (RFC 6376 section 8.15).
    """
    parsed = MessageHead(head)
    if parsed.is_too_large:
        return f"the header has more than {MAX_HEAD} octets"
    authors = len(parsed.named(b"from"))
    if authors != 1:
        return "the message has no From field" if not authors else f"the message has {authors} From fields"
    if any(_BARE.search(field.raw) for name in NO_MORE + IF_PRESENT for field in parsed.named(name)):
        return "the header has a CR or LF alone"
    return None


class MessageSigning:
    """The signing of one message whose body arrives in chunks."""

    def __init__(self, head: bytes, signers: Sequence[Signer], *, now: float) -> None:
        """``head``: the octets of the header. ``now``: the time in seconds since the epoch.

        Raises ``ValueError`` if the message cannot be signed.
        """
        if problem := why_not_signed(head):
            raise ValueError(problem)
        self._head = MessageHead(head)
        self._signers = signers
        self._second = int(now)
        self._body = BodyHashes([_FORM])

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the body."""
        self._body.feed(chunk)

    def finish(self) -> bytes:
        """The body has ended. Returns a DKIM-Signature field for each signer, to be put before the header."""
        body_hash = base64.b64encode(self._body.finish()[_FORM]).decode()
        names = self._names()
        covered = self._head.covered(names, relaxed=True)
        listed = b":".join(names).decode()
        return b"".join(self._field(signer, body_hash, listed, covered) for signer in self._signers)

    def _names(self) -> list[bytes]:
        present = [(name, len(self._head.named(name))) for name in NO_MORE + IF_PRESENT]
        return [name for name, number in present for _ in range(number + (name in NO_MORE))]

    def _field(self, signer: Signer, body_hash: str, listed: str, covered: bytes) -> bytes:
        lines = [
            f"DKIM-Signature: v=1; a={signer.algorithm}; c=relaxed/relaxed; d={signer.domain};",
            f"\ts={signer.selector}; t={self._second};",
            *_folded("h=", listed, ":", ";"),
            f"\tbh={body_hash};",
        ]
        unsigned = "\r\n".join([*lines, "\tb="]).encode()
        value = base64.b64encode(signer.sign(covered + relaxed_field(unsigned))).decode()
        pieces = [value[at : at + _LINE - 4] for at in range(0, len(value), _LINE - 4)]
        return unsigned + "\r\n\t ".join(pieces).encode() + b"\r\n"


def _folded(tag: str, text: str, separator: str, end: str) -> list[str]:
    """The lines of a tag with a list, which may be folded after its separators."""
    lines = [f"\t{tag}"]
    items = text.split(separator)
    for item in items[:-1]:
        lines[-1] += item + separator
        if len(lines[-1]) > _LINE - 28:
            lines.append("\t ")
    lines[-1] += items[-1] + end
    return lines
