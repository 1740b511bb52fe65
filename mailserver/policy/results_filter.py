"""Removes forged fields Authentication-Results from a message that arrives (RFC 8601 section 5).

The header is held back until it is complete. From a header of more than :data:`MAX_HEAD` octets all such
fields are removed, because none of them can be trusted and not all of it is kept in memory.
"""

from zope.interface import implementer

from mailserver.interfaces import IContent
from mailserver.mail.address import Address
from mailserver.mail.filtering import HeadFilter
from mailserver.policy.authentication_results import without_forged
from mailserver.policy.dkim.head import MAX_HEAD
from mailserver.reception.checks import ACCEPTED, CheckResult, IExamination
from mailserver.reception.transaction import Transaction

_ALL_RESULTS = frozenset({b"authentication-results"})


class ResultsFilter:
    """The octets of one message."""

    def __init__(self, hostname: str) -> None:
        """``hostname``: the name of this server."""
        self._hostname = hostname
        self._held = bytearray()
        self._passing = False
        self._large: HeadFilter | None = None

    # For subclasses: the message without the removed fields.

    def read_head(self, head: bytes) -> None:
        """The header, in whole lines; more than :data:`MAX_HEAD` octets if it is too large to be checked."""

    def read_body(self, data: bytes) -> None:
        """The next octets of the body; none of a message with too large a header."""

    # The message

    def feed(self, data: bytes) -> bytes:
        """Take the next octets of the message. Returns the octets that are decided."""
        if self._large is not None:
            return self._large.feed(data)
        if self._passing:
            self.read_body(data)
            return data
        before = len(self._held)
        self._held += data
        if self._held.startswith(b"\r\n"):
            end = 0
        else:
            end = self._held.find(b"\r\n\r\n", max(0, before - 3)) + 2
        if end == 1:  # not found
            return self._pass_large() if len(self._held) > MAX_HEAD else b""
        return self._pass_head(end)

    def finish(self) -> bytes:
        """The message has ended, possibly within its header. Returns the last octets."""
        if self._large is not None:
            return self._large.finish()
        return b"" if self._passing else self._pass_head(len(self._held))

    def _pass_head(self, end: int) -> bytes:
        octets = bytes(self._held)
        self._held.clear()
        self._passing = True
        head, body = without_forged(octets[:end], (self._hostname,)), octets[end:]
        self.read_head(head)
        self.read_body(body[2:])
        return head + body

    def _pass_large(self) -> bytes:
        octets = bytes(self._held)
        self._held.clear()
        self._large = HeadFilter(_ALL_RESULTS)
        self.read_head(octets)
        return self._large.feed(octets)


@implementer(IExamination)
class ResultsRemoval(ResultsFilter):
    """The examination of a message whose sender is not checked."""

    def check_recipient(self, transaction: Transaction, recipient: Address) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IExamination`."""
        return ACCEPTED

    def check_message(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IExamination`."""
        return ACCEPTED

    def stop(self) -> None:
        """See :class:`~mailserver.reception.checks.IExamination`."""
