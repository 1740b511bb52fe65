"""First contacts: mail from an address that nobody here has written to, or heard from.

It is marked, or also delayed. The address counts alone: who forges a known one is a known sender. A delay is
a temporary rejection, as with greylisting. The message is not held back after its 250, which means that it is
in the mailbox. A delay gives the lists of bad clients time to learn of a new one.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.events.base import report
from mailserver.events.reputation import FirstContactPassed
from mailserver.interfaces import IContent
from mailserver.mail.address import Address, format_path
from mailserver.mail.seen import Seen, SeenKey
from mailserver.mail.verdict import Accept
from mailserver.policy.history import Found, History, heard_key, see, without_history, written_key
from mailserver.policy.known_senders import pattern_of, wait
from mailserver.policy.strangers import is_open, is_stranger
from mailserver.reception.checks import ACCEPTED, CheckResult, CheckVerdict, IFinalCheck, IRoutedCheck
from mailserver.reception.transaction import Client, Recipient, Transaction

FIRST = Accept("Ok", b"X-First-Contact: yes\r\n")


class _ContactCheck:
    """What the checks of first contacts share."""

    def __init__(self, history: History, is_exempt: Callable[[str], bool], now: Callable[[], float]) -> None:
        """``is_exempt``: see :func:`~mailserver.policy.strangers.is_stranger`. ``now`` returns the seconds
        since the epoch."""
        self._history = history
        self._is_exempt = is_exempt
        self._now = now

    def _judge(
        self, client: Client, sender: Address | None, judge: Callable[..., CheckVerdict], *more: Any
    ) -> CheckResult:
        """The verdict of ``judge(found, sender, *more)`` on a stranger. A bounce is no contact."""
        if sender is None or not is_stranger(client, self._is_exempt):
            return ACCEPTED
        found = self._history.find(*_keys(sender))
        if isinstance(found, Deferred):
            return found.addCallbacks(judge, without_history, callbackArgs=(sender, *more))
        return judge(found, sender, *more)


@implementer(IFinalCheck)
class FirstContact(_ContactCheck):
    """Marks first contacts. The senders of messages that cannot be stored are known from then on, too."""

    def check_final(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IFinalCheck`."""
        return self._judge(transaction.client, transaction.reverse_path, self._judged, transaction)

    def _judged(self, found: Found, sender: Address, transaction: Transaction) -> CheckVerdict:
        written, heard, pattern, new = _keys(sender)
        now = self._now()
        for key in (heard, pattern):
            see(self._history, key, found.get(key), now)
        if written in found or heard in found:
            return ACCEPTED
        if new in found and pattern not in found:
            client = transaction.client
            report(
                FirstContactPassed(
                    id=transaction.id,
                    client=client.ip,
                    session=client.session,
                    sender=format_path(sender),
                    seconds=round(now - found[new].first),
                )
            )
        return FIRST


@implementer(IRoutedCheck)
class FirstContactDelay(_ContactCheck):
    """Defers first contacts until ``delay`` seconds after their first attempt.

    Addresses that differ only in numbers and tags are one sender here, since each message of some senders has
    another one. Mail to the postmaster is not deferred.
    """

    def __init__(
        self, delay: float, history: History, is_exempt: Callable[[str], bool], now: Callable[[], float]
    ) -> None:
        super().__init__(history, is_exempt, now)
        self._delay = delay

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRoutedCheck`."""
        if is_open(recipient.address):
            return ACCEPTED
        return self._judge(transaction.client, transaction.reverse_path, self._judged)

    def _judged(self, found: Found, sender: Address) -> CheckVerdict:
        *known, new = _keys(sender)
        if any(key in found for key in known):
            return ACCEPTED
        now, first = self._now(), found.get(new)
        # A first attempt in the future was before the clock was set back.
        if first is None or first.first > now:
            first = Seen(now, now)
            self._history.record(new, first)
        left = first.first + self._delay - now
        return wait("first contact", left, "policy.first_contact") if left > 0 else ACCEPTED


def _keys(sender: Address) -> tuple[SeenKey, SeenKey, SeenKey, SeenKey]:
    """Whether users here have written to the address, and have heard from it, or from one like it; and its
    first attempt."""
    pattern = pattern_of(sender)
    return written_key(sender), heard_key(sender), ("heard", pattern), ("new", pattern)
