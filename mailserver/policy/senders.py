"""Sender ownership: an account sends under its own addresses only (RFC 6409 section 6.1).

A message of an account has one From field: readers show one of several, and others check another.
"""

import re

from zope.interface import implementer

from mailserver.interfaces import IContent, IRouter
from mailserver.mail.returned import header_of
from mailserver.mail.verdict import NOT_AUTHORIZED, Refuse
from mailserver.reception.checks import ACCEPTED, CheckResult, IMessageCheck, ISenderCheck
from mailserver.reception.transaction import Transaction

SEVERAL_AUTHORS = Refuse(NOT_AUTHORIZED, "the message has several From fields", "submission.senders")
# A CR or LF alone ends a line for some programs.
_FROM = re.compile(rb"[\r\n]from[ \t]*:", re.IGNORECASE)


@implementer(ISenderCheck, IMessageCheck)
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

    def check_message(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IMessageCheck`."""
        if transaction.client.account is None:
            return ACCEPTED
        return ACCEPTED if len(_FROM.findall(b"\n" + header_of(content.chunks()))) <= 1 else SEVERAL_AUTHORS
