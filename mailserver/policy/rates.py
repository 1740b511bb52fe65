"""The rates of section ``[limits]`` for messages and recipients, by client address, account and domain."""

from zope.interface import implementer

from mailserver.interfaces import ISendingLimits
from mailserver.mail.address import Address
from mailserver.reception.checks import ACCEPTED, CheckResult, ILookupCheck, IRecipientCheck, ISenderCheck
from mailserver.reception.transaction import Client, Transaction


@implementer(ISenderCheck, IRecipientCheck, ILookupCheck)
class SendingRates:
    """Defers a message, a recipient or a lookup that exceeds a rate."""

    def __init__(self, limits: ISendingLimits) -> None:
        self._limits = limits

    def check_sender(self, transaction: Transaction) -> CheckResult:
        """See :class:`~mailserver.reception.checks.ISenderCheck`."""
        return self._limits.message(*_counted(transaction)) or ACCEPTED

    def check_recipient(self, transaction: Transaction, recipient: Address) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRecipientCheck`."""
        return self._limits.recipient(*_counted(transaction)) or ACCEPTED

    def check_lookup(self, client: Client) -> CheckResult:
        """See :class:`~mailserver.reception.checks.ILookupCheck`."""
        return self._limits.probe(client.limit_key) or ACCEPTED

    def unknown(self, client: Client) -> None:
        """See :class:`~mailserver.reception.checks.ILookupCheck`."""
        self._limits.recipient_failed(client.limit_key)


def _counted(transaction: Transaction) -> tuple[str, str, str]:
    """The keys by which client, account and sender domain are counted, "" for none."""
    client, path = transaction.client, transaction.reverse_path
    domain = path.domain if path is not None else ""
    if client.account is None:
        return client.limit_key, "", domain
    # A client without a login may use any domain; its messages must not count for a domain of accounts.
    return client.limit_key, str(client.account), f"@{domain}" if domain else ""
