"""Signs the mail of accounts with DKIM (RFC 6376), by the domain of its author.

Mail that others bring is never signed, whatever its From says. A message with several From fields, or with
none, is not signed either.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.events.base import report
from mailserver.events.messages import MessageUnsigned
from mailserver.interfaces import IContent
from mailserver.mail.verdict import Accept
from mailserver.policy.dkim.head import MAX_HEAD
from mailserver.policy.dkim.signer import MessageSigning, Signer
from mailserver.policy.dmarc.author import author_domain
from mailserver.reception.checks import ACCEPTED, CheckResult, IMessageCheck
from mailserver.reception.transaction import Transaction

INLINE = 64 * 1024
"""Octets of a message that is signed in the reactor's thread: about 1 ms. To read a larger one may block."""


@attrs.frozen
class SigningKeys:
    """The keys of all domains that sign, by domain."""

    signers: Mapping[str, Sequence[Signer]] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self.signers)

    def for_author(self, domain: str) -> Sequence[Signer]:
        """The signers of an author's domain: its own, or those of the nearest domain above it, whose
        signature is aligned with it, too (RFC 9989 section 4.4.1)."""
        while domain:
            if domain in self.signers:
                return self.signers[domain]
            domain = domain.partition(".")[2]
        return ()

    def sign(self, chunks: Iterable[bytes], now: float) -> bytes:
        """The DKIM-Signature fields of a message, to be put before its header; none if no key is its
        author's. ``now`` is in seconds since the epoch. Raises ValueError if the message cannot be signed."""
        pieces = iter(chunks)
        head, body = _split(pieces)
        signers = self.for_author(author_domain(head))
        if not signers:
            return b""
        signing = MessageSigning(head, signers, now=now)
        signing.feed(body)
        for piece in pieces:
            signing.feed(piece)
        return signing.finish()


NO_KEYS = SigningKeys()


def _split(pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
    """The header with the empty line behind it, and the beginning of the body."""
    begun = b""
    for piece in pieces:
        begun += piece
        # A message without a header begins with the empty line.
        end = 2 if begun.startswith(b"\r\n") else begun.find(b"\r\n\r\n") + 4
        if end != 3:
            return begun[:end], begun[end:]
        if len(begun) > MAX_HEAD:
            raise ValueError(f"the header has more than {MAX_HEAD} octets")
    return begun, b""


InThread = Callable[[Callable[[], Accept]], "Deferred[Accept]"]
"""Calls a function in a thread."""


@implementer(IMessageCheck)
class DKIMSigning:
    """Adds the signatures to each message of an account or of a local program."""

    def __init__(
        self, keys: Callable[[], SigningKeys], in_thread: InThread, now: Callable[[], float]
    ) -> None:
        """``keys`` returns those in force, ``now`` the seconds since the epoch."""
        self._keys = keys
        self._in_thread = in_thread
        self._now = now

    def check_message(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IMessageCheck`. Accepts every message."""
        keys, client = self._keys(), transaction.client
        if not keys or (client.account is None and client.local is None):
            return ACCEPTED
        if content.size <= INLINE:
            return self._signed(keys, transaction, content)
        # Any: Deferred is invariant.
        signed: Deferred[Any] = self._in_thread(lambda: self._signed(keys, transaction, content))
        return signed

    def _signed(self, keys: SigningKeys, transaction: Transaction, content: IContent) -> Accept:
        try:
            fields = keys.sign(content.chunks(), self._now())
        except ValueError as error:
            account = transaction.client.account
            report(
                MessageUnsigned(
                    id=transaction.id,
                    session=transaction.client.session,
                    account=str(account) if account is not None else "",
                    reason=str(error),
                    rule="dkim",
                )
            )
            return ACCEPTED
        return Accept("Ok", fields) if fields else ACCEPTED
