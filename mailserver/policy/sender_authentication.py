"""Checks who has sent a message: SPF, DKIM and DMARC, with their results in Authentication-Results.

Only mail of strangers is checked. Forged results are removed from the mail of accounts, too; other servers
that are trusted may have written theirs with the name of this server.
"""

import time
from collections.abc import Callable, Collection

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailserver.dns.interfaces import IResolver
from mailserver.policy.dmarc.aggregate import AggregateRow
from mailserver.policy.dmarc.record import DMARCRecord
from mailserver.policy.reputation.values import ClientReputation
from mailserver.policy.result_cache import ResultCache
from mailserver.policy.results_filter import ResultsRemoval
from mailserver.policy.sender_examination import SenderContext, SenderExamination
from mailserver.policy.sender_verdict import SenderRules
from mailserver.policy.strangers import is_stranger
from mailserver.reception.checks import IExaminer
from mailserver.reception.transaction import Client, Transaction


@implementer(IExaminer)
class SenderAuthentication:
    """Checks the senders of messages by ``rules``."""

    def __init__(
        self,
        rules: SenderRules,
        is_exempt: Callable[[str], bool],
        resolver: IResolver,
        clock: IReactorTime,
        *,
        hostname: str,
        reputation: Callable[[Client], ClientReputation | None] = lambda client: None,
        now: Callable[[], float] = time.time,
        count: Callable[[DMARCRecord, AggregateRow], None] | None = None,
        signed: Callable[[str, Collection[str]], None] | None = None,
    ) -> None:
        """``is_exempt`` knows the addresses of clients that are not checked. ``hostname`` is the name of this
        server in the results. ``reputation`` gives what is known of a client. ``now`` returns the
        seconds since the epoch. ``count`` counts the results of DMARC for reports; None without reports.
        ``signed`` gets the id of each message, and the domains whose signatures of it are valid."""
        self._is_exempt = is_exempt
        self._context = SenderContext(
            rules=rules,
            resolver=resolver,
            clock=clock,
            hostname=hostname,
            reputation=reputation,
            now=now,
            count=count,
            signed=signed,
            known_spf=ResultCache(clock.seconds),
            known_dmarc=ResultCache(clock.seconds),
        )

    def examine(self, transaction: Transaction) -> ResultsRemoval | SenderExamination | None:
        """See :class:`~mailserver.reception.checks.IExaminer`."""
        client = transaction.client
        if is_stranger(client, self._is_exempt):
            return SenderExamination(self._context, transaction)
        return ResultsRemoval(self._context.hostname) if client.account is not None else None
