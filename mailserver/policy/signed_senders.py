"""Greylisting at the end of the data: what DKIM proves spares a sender, and is remembered.

A sender counts by the domain of each signature that is valid, and covers the whole body. It is known from
then on, whatever network its mail comes from. After the mail of several senders, all mail that the domain
signs is known.
"""

from collections.abc import Callable, Collection
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.errors import StorageError
from mailserver.events.base import report
from mailserver.events.reputation import GreylistSpared
from mailserver.interfaces import IContent
from mailserver.mail.address import Address, format_path
from mailserver.policy.greylisting import Undecided
from mailserver.policy.guard import CheckGuard
from mailserver.policy.history import Found, History, find
from mailserver.policy.known_senders import is_known, known_keys, make_known, stay_known
from mailserver.policy.sender_verdict import ErrorMode
from mailserver.policy.strangers import is_stranger
from mailserver.reception.checks import ACCEPTED, CheckResult, CheckVerdict, IFinalCheck
from mailserver.reception.transaction import Transaction

MOST_DOMAINS = 3  # of the signatures of a message


class SigningDomains(Protocol):
    """The domains whose signatures of a message are valid, by its id."""

    def get(self, key: str) -> Collection[str] | None:
        """The domains of a message, None if its signatures were not checked."""


@implementer(IFinalCheck)
class SignedSenders:
    """Defers the messages that greylisting has not decided about, unless DKIM spares them. Remembers the
    senders of all other messages with their domains."""

    def __init__(
        self,
        on_error: ErrorMode,
        history: History,
        is_exempt: Callable[[str], bool],
        undecided: Undecided,
        domains: SigningDomains,
        now: Callable[[], float],
    ) -> None:
        """``undecided`` has the messages of :class:`~mailserver.policy.greylisting.Greylisting`."""
        self._guard = CheckGuard("greylist", on_error)
        self._history = history
        self._is_exempt = is_exempt
        self._undecided = undecided
        self._domains = domains
        self._now = now

    def check_final(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IFinalCheck`."""
        sender, client = transaction.reverse_path, transaction.client
        if sender is None or not is_stranger(client, self._is_exempt):
            return ACCEPTED
        deferral = self._undecided.get(transaction.id)
        domains = self._domains.get(transaction.id)
        if not domains:
            return deferral or ACCEPTED
        return self._guard.run(client, self._checked, transaction, sender, list(domains)[:MOST_DOMAINS])

    def _checked(self, *arguments: Any) -> CheckResult:
        return Deferred.fromCoroutine(self._check(*arguments))

    async def _check(
        self, transaction: Transaction, sender: Address, domains: Collection[str]
    ) -> CheckVerdict:
        try:
            known = {domain: await find(self._history, known_keys(domain, sender)) for domain in domains}
        except StorageError:
            return ACCEPTED
        deferral = self._undecided.get(transaction.id)
        if deferral is not None:
            good = [domain for domain, found in known.items() if is_known(found)]
            if not good:
                return deferral
            self._report(transaction, good[0])
        for domain, found in known.items():
            self._remember(domain, sender, found)
        return ACCEPTED

    def _remember(self, domain: str, sender: Address, found: Found) -> None:
        keys = known_keys(domain, sender)
        _, passed, _ = keys
        if passed in found:
            stay_known(self._history, found, keys, self._now())
        else:
            make_known(self._history, found, keys, self._now())

    def _report(self, transaction: Transaction, domain: str) -> None:
        client = transaction.client
        report(
            GreylistSpared(
                id=transaction.id,
                client=client.ip,
                session=client.session,
                sender=format_path(transaction.reverse_path),
                domain=domain,
            )
        )
