"""Relaying: who may send mail to other servers (RFC 5321 section 3.6.2), and to which (RFC 7505)."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from zope.interface import implementer

from mailserver.mail.address import Address
from mailserver.mail.verdict import NOT_AUTHORIZED, NULL_MX, Refuse
from mailserver.policy.strangers import IPNetwork, inside
from mailserver.reception.checks import (
    ACCEPTED,
    CheckResult,
    IFetchPermission,
    IQueueStartCheck,
    IRoutedCheck,
)
from mailserver.reception.transaction import Client, Recipient, Transaction

DENIED = Refuse(NOT_AUTHORIZED, "relaying denied", "relay.networks")
REPORTS_ONLY = Refuse(
    NOT_AUTHORIZED,
    "this return address takes only delivery reports, which have the reverse-path <>; write to the sender of "
    "the message instead",
    "forward.srs",
)
NOT_OURS = Refuse(NOT_AUTHORIZED, "this server keeps no mail for it", "relay.domains")
NO_START = Refuse(NOT_AUTHORIZED, "authentication required", "relay.networks")
NOBODY: Mapping[str, Collection[Address]] = MappingProxyType({})
LOCAL_CLIENT = "127.0.0.1"  # a client of a unix socket is on this machine


@implementer(IRoutedCheck, IQueueStartCheck, IFetchPermission)
class RelayPermission:
    """Rejects recipients on other servers and requests to start the queue, except for clients that may relay.

    These are clients with a login, local programs, and clients in ``networks``. Mail for ``domains`` is
    relayed for everybody. A rewritten reverse-path takes only reports, from everybody. The accounts in
    ``atrn`` may fetch the mail for their domains.
    """

    def __init__(
        self,
        networks: Collection[IPNetwork],
        domains: Collection[str],
        atrn: Mapping[str, Collection[Address]] = NOBODY,
    ) -> None:
        self._is_inside = inside(networks)
        self._domains = frozenset(domains)
        self._atrn = atrn

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRoutedCheck`."""
        if not recipient.routed.relayed:
            is_refused = recipient.routed.bounces_only and transaction.reverse_path is not None
            return REPORTS_ONLY if is_refused else ACCEPTED
        client = transaction.client
        if (
            client.account is not None
            or client.local is not None
            or recipient.address.domain in self._domains
        ):
            return ACCEPTED
        return ACCEPTED if self._is_permitted(client) else DENIED

    def check_queue_start(self, client: Client, domain: str) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IQueueStartCheck`."""
        if domain not in self._domains:
            return NOT_OURS
        return ACCEPTED if client.account is not None or self._is_permitted(client) else NO_START

    def fetchable(self, account: Address) -> Collection[str]:
        """See :class:`~mailserver.reception.checks.IFetchPermission`."""
        return [domain for domain, accounts in self._atrn.items() if account in accounts]

    def _is_permitted(self, client: Client) -> bool:
        return self._is_inside(client.ip or LOCAL_CLIENT)


@implementer(IRoutedCheck)
class NullMX:
    """Rejects recipients in domains that accept no mail, if that is known: RCPT asks no DNS server."""

    def __init__(self, accepts_no_mail: Callable[[str], bool]) -> None:
        self._accepts_no_mail = accepts_no_mail

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRoutedCheck`."""
        domain = recipient.address.domain
        if not (recipient.routed.relayed and domain and self._accepts_no_mail(domain)):
            return ACCEPTED
        return Refuse(NULL_MX, f"the domain {domain} does not accept mail (null MX)", "dns")
