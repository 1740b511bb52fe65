"""Several checks that delay a recipient, whose times run side by side."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.mail.verdict import Accept
from mailserver.reception.checks import ACCEPTED, CheckResult, CheckVerdict, IRoutedCheck
from mailserver.reception.transaction import Recipient, Transaction


@implementer(IRoutedCheck)
class Delays:
    """Asks all of ``checks``, also after one that defers: so each counts the time from the first attempt.

    The verdict is the first one that does not accept.
    """

    def __init__(self, checks: Sequence[IRoutedCheck]) -> None:
        self._checks = checks

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRoutedCheck`."""
        return Deferred.fromCoroutine(self._ask(transaction, recipient))

    async def _ask(self, transaction: Transaction, recipient: Recipient) -> CheckVerdict:
        found: CheckVerdict = ACCEPTED
        for check in self._checks:
            result: CheckResult = check.check_routed(transaction, recipient)
            verdict = await result if isinstance(result, Deferred) else result
            if isinstance(found, Accept):
                found = verdict
        return found
