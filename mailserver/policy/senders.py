"""Sender ownership: an account sends under its own addresses only (RFC 6409 section 6.1)."""

from zope.interface import implementer

from mailserver.interfaces import IRouter
from mailserver.reception.checks import ACCEPTED, CheckResult, ISenderCheck
from mailserver.reception.transaction import Transaction


@implementer(ISenderCheck)
class SenderOwnership:
    """Rejects a reverse-path that does not belong to the account. Clients without a login may use any."""

    def __init__(self, router: IRouter) -> None:
        self._router = router

    def check_sender(self, transaction: Transaction) -> CheckResult:
        """See :class:`~mailserver.reception.checks.ISenderCheck`."""
        account = transaction.client.account
        if account is None:
            return ACCEPTED
        return self._router.sender(account, transaction.reverse_path)
