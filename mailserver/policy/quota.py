"""Quotas: a recipient whose mailbox has no room for the message is rejected at RCPT.

The size of the message is the one that the client declares with SIZE (RFC 1870 section 6.1), if it does.
"""

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.errors import StorageError
from mailserver.events.base import report
from mailserver.events.messages import MailboxUnusable
from mailserver.mail.address import Address
from mailserver.mail.verdict import MAIL_SYSTEM, MAILBOX_FULL, Defer, Refuse
from mailserver.reception.checks import ACCEPTED, CheckResult, CheckVerdict, IRoutedCheck
from mailserver.reception.transaction import Recipient, Transaction

FULL = Refuse(MAILBOX_FULL, "the mailbox is full", "storage.quota")
TOO_LARGE = Refuse(MAILBOX_FULL, "the message does not fit into the mailbox", "storage.quota")
UNUSABLE = Defer(MAIL_SYSTEM, "the mailbox is temporarily unavailable; please try again later", "storage")


class MailboxRoom(Protocol):
    """Knows the room in mailboxes."""

    def has_room(self, mailbox: Address, octets: int) -> "bool | Deferred[bool]":
        """See :meth:`~mailserver.interfaces.IMailboxStore.has_room`."""


@implementer(IRoutedCheck)
class MailboxQuota:
    """Checks the quota of a recipient that leads to a single mailbox.

    A recipient that leads to several mailboxes, or to a list, is accepted: the spool keeps the copies for
    full mailboxes.
    """

    def __init__(self, store: MailboxRoom) -> None:
        self._store = store

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRoutedCheck`."""
        destinations = recipient.routed.destinations
        if len(destinations) != 1 or destinations[0].bounces_to is not None or destinations[0].remote:
            return ACCEPTED
        mailbox = destinations[0].mailbox
        octets = int(transaction.parameters.get("SIZE") or 0)
        refusal = TOO_LARGE if octets else FULL
        has_room = self._store.has_room(mailbox, octets or 1)
        if isinstance(has_room, bool):
            return ACCEPTED if has_room else refusal
        return has_room.addCallbacks(
            lambda has_room: ACCEPTED if has_room else refusal, self._unusable, errbackArgs=(mailbox,)
        )

    def _unusable(self, failure: Failure, mailbox: Address) -> CheckVerdict:
        """Defer this recipient alone; the other recipients of the message get it."""
        failure.trap(StorageError)
        report(MailboxUnusable(mailbox=mailbox, reason=str(failure.value), rule=UNUSABLE.key))
        return UNUSABLE
