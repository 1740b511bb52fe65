"""Accepts, marks, defers or rejects mail by the reputation of its client."""

from collections.abc import Callable

from zope.interface import implementer

from mailserver.mail.address import Address
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Defer, Refuse
from mailserver.policy.guard import CheckGuard
from mailserver.policy.reputation.lookup import ReputationLookup
from mailserver.policy.reputation.values import ClientReputation
from mailserver.policy.sender_verdict import ErrorMode
from mailserver.policy.strangers import is_open, is_stranger
from mailserver.reception.checks import (
    ACCEPTED,
    CheckResult,
    CheckVerdict,
    IClientCheck,
    IRecipientCheck,
    then,
)
from mailserver.reception.transaction import Client, Transaction


@implementer(IClientCheck, IRecipientCheck)
class ReputationCheck:
    """Judges strangers by the lists that have them, and by their score.

    MAIL waits for DNS, and gives the message its marks. The verdict is the reply to RCPT: the postmaster is
    open to everybody (RFC 5321 section 4.5.1), and the log has the recipient.
    """

    def __init__(
        self,
        lookup: ReputationLookup,
        threshold: int,
        is_exempt: Callable[[str], bool],
        on_error: ErrorMode = "accept",
    ) -> None:
        """A score of ``threshold`` is rejected, unless it is 0. ``is_exempt``: see
        :func:`~mailserver.policy.strangers.is_stranger`."""
        self._guard = CheckGuard("reputation", on_error)
        self._lookup = lookup
        self._threshold = threshold
        self._is_exempt = is_exempt

    def check_client(self, client: Client) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IClientCheck`."""
        if not is_stranger(client, self._is_exempt):
            return ACCEPTED
        return self._guard.run(client, self._mark, client)

    def _mark(self, client: Client) -> CheckResult:
        return then(self._lookup.find(client), _marked)

    def check_recipient(self, transaction: Transaction, recipient: Address) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRecipientCheck`."""
        client = transaction.client
        if not is_stranger(client, self._is_exempt) or is_open(recipient):
            return ACCEPTED
        return self._guard.run(client, self._judge, client)

    def _judge(self, client: Client) -> CheckResult:
        return then(self._lookup.find(client), verdict_on, client.ip, self._threshold)


def _marked(reputation: ClientReputation) -> CheckVerdict:
    """One field for each list of bad clients.

    It is no result in Authentication-Results: the only method for lists there, "dnswl" (RFC 8904), is for
    lists of good clients, and is used for these. Its "pass" would be read as praise.
    """
    fields = "".join(
        dict.fromkeys(
            f"X-DNSBL: {listing.zone.name} {','.join(listing.codes)}\r\n"
            for listing in reputation.listings
            if not listing.zone.is_good
        )
    )
    return Accept("Ok", fields.encode("ascii")) if fields else ACCEPTED


def verdict_on(reputation: ClientReputation, ip: str, threshold: int) -> CheckVerdict:
    """The verdict on mail from a client at ``ip``. The lists decide in the order of the configuration."""
    if reputation.is_good:
        return ACCEPTED
    deferral: Defer | None = None
    for listing in reputation.listings:
        zone = listing.zone
        text = f"client host [{ip}] is listed in {zone.name}" + (f"; {listing.text}" if listing.text else "")
        if zone.action == "refuse":
            return Refuse(NOT_AUTHORIZED, text, zone.key)
        if zone.action == "defer" and deferral is None:
            deferral = Defer(NOT_AUTHORIZED, text, zone.key)
    if 0 < threshold <= reputation.score:
        reasons = ", ".join(reputation.score_reasons)
        text = f"client host [{ip}] has a bad reputation: score {reputation.score} ({reasons})"
        return Refuse(NOT_AUTHORIZED, text, "policy.score_threshold")
    return deferral or ACCEPTED
