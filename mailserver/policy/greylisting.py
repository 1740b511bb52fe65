"""Greylisting: the first attempt of an unknown sender is deferred (RFC 6647).

Real mail servers try again; most programs that send spam do not. A sender who has tried again is known from
then on, for all recipients. Known are also the addresses that somebody here has written to, and the networks
from which several senders have passed. A client counts by its network, since large servers try again from
another address; a sender who passes SPF counts by its domain, and one whose mail is signed by the domain of
the DKIM signature.

A recipient is deferred at RCPT, before the data. Only DKIM is known later. So a sender is deferred at the end
of the data if its domain, or one above it, has signed good mail before: a signature of such a domain spares
it then. All others could not profit from the data.

Mail with the null reverse-path is never deferred: it may be a bounce for a user here, or the question of
another server whether the sender of a message exists (a callback), which would then defer that message.
Neither is mail to the postmaster.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailserver.dns.interfaces import IResolver
from mailserver.errors import StorageError
from mailserver.events.base import report
from mailserver.events.reputation import GreylistPassed
from mailserver.mail.address import Address, format_path
from mailserver.mail.seen import Seen, SeenKey
from mailserver.mail.verdict import Accept, Defer
from mailserver.policy.guard import CheckGuard
from mailserver.policy.history import Found, History, find
from mailserver.policy.known_senders import (
    is_known,
    joined,
    known_keys,
    make_known,
    network_of,
    pattern_of,
    stay_known,
    wait,
)
from mailserver.policy.reputation.values import ClientReputation
from mailserver.policy.sender_verdict import ErrorMode
from mailserver.policy.spf.lookups import check_spf
from mailserver.policy.spf.values import SPFRequest, SPFResult
from mailserver.policy.strangers import is_open, is_stranger
from mailserver.reception.checks import ACCEPTED, CheckResult, CheckVerdict, IRoutedCheck
from mailserver.reception.transaction import Client, Recipient, Transaction

KEY = "policy.greylist"
SPF_TIME = 5.0  # seconds
MOST_SIGNERS = 5  # domains


# Address and name of the client, and the sender.
SparedSender = tuple[str, str, str]


class SparedSenders(Protocol):
    """Remembers for a short time who need not wait, since to find that takes SPF."""

    def has(self, key: SparedSender) -> bool:
        """Whether a sender is remembered."""

    def put(self, key: SparedSender, value: None) -> None:
        """Remember a sender."""


class Undecided(Protocol):
    """The messages that are deferred at their end, unless DKIM spares them, by their ids."""

    def get(self, key: str) -> Defer | None:
        """The verdict on a message."""

    def put(self, key: str, value: Defer) -> None:
        """Remember a message."""


@attrs.frozen(kw_only=True)
class GreylistRules:
    """``mode`` says whose mail is deferred; ``delay`` is the time in seconds until an attempt passes. With
    ``dkim`` the signatures of messages are checked."""

    mode: Literal["suspicious", "all"]
    delay: float
    dkim: bool = False
    on_error: ErrorMode = "accept"


@implementer(IRoutedCheck)
class Greylisting:
    """Defers the first attempts of strangers."""

    def __init__(
        self,
        rules: GreylistRules,
        history: History,
        reputation: Callable[[Client], ClientReputation | Deferred[ClientReputation]],
        is_exempt: Callable[[str], bool],
        spared: SparedSenders,
        undecided: Undecided,
        resolver: IResolver,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        """``reputation`` finds what others know of a client. ``is_exempt``: see
        :func:`~mailserver.policy.strangers.is_stranger`. ``now`` returns the seconds since the epoch."""
        self._rules = rules
        self._guard = CheckGuard("greylist", rules.on_error)
        self._history = history
        self._reputation = reputation
        self._is_exempt = is_exempt
        self._spared = spared
        self._undecided = undecided
        self._resolver = resolver
        self._clock = clock
        self._now = now

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IRoutedCheck`."""
        sender, client = transaction.reverse_path, transaction.client
        if sender is None or is_open(recipient.address) or not is_stranger(client, self._is_exempt):
            return ACCEPTED
        keys = known_keys(network_of(client.ip), sender)
        found = self._history.find(*keys)
        if not isinstance(found, Deferred) and is_known(found):
            stay_known(self._history, found, keys, self._now())
            return ACCEPTED
        if self._spared.has((client.ip, client.helo, str(sender))):
            return ACCEPTED
        return self._guard.run(client, self._deferred, found, transaction, sender, recipient.address)

    def _deferred(self, *arguments: Any) -> CheckResult:
        return Deferred.fromCoroutine(self._judge(*arguments))

    async def _judge(
        self,
        finding: Found | Deferred[Found],
        transaction: Transaction,
        sender: Address,
        recipient: Address,
    ) -> CheckVerdict:
        client = transaction.client
        try:
            found = await finding if isinstance(finding, Deferred) else finding
            origin = network_of(client.ip)
            if is_known(found):
                stay_known(self._history, found, known_keys(origin, sender), self._now())
                return ACCEPTED
            reputation = self._reputation(client)
            if isinstance(reputation, Deferred):
                reputation = await reputation
            spf = "" if reputation.is_good else await self._spf(client, sender)
            is_suspicious = reputation.is_suspicious or spf in ("fail", "softfail")
            if reputation.is_good or (self._rules.mode == "suspicious" and not is_suspicious):
                self._spared.put((client.ip, client.helo, str(sender)), None)
                return ACCEPTED
            if spf == "pass":
                origin = sender.domain
            verdict = await self._wait(origin, client, sender, recipient)
            if isinstance(verdict, Accept) or not (self._rules.dkim and await self._may_be_signed(sender)):
                return verdict
            self._undecided.put(transaction.id, verdict)
            return ACCEPTED
        except StorageError:
            return ACCEPTED

    async def _may_be_signed(self, sender: Address) -> bool:
        """Whether a signature of the domain of the sender, or of one above it, would spare the message."""
        for domain in signers(sender.domain):
            if is_known(await find(self._history, known_keys(domain, sender))):
                return True
        return False

    async def _wait(self, origin: str, client: Client, sender: Address, recipient: Address) -> Accept | Defer:
        """Accept another attempt that comes late enough."""
        now, delay = self._now(), self._rules.delay
        keys = known_keys(origin, sender)
        waiting: SeenKey = ("waiting", joined(origin, pattern_of(sender), str(recipient.key)))
        found = await find(self._history, (*keys, waiting))
        if is_known(found):
            stay_known(self._history, found, keys, now)
            self._know(client, sender, now)
            return ACCEPTED
        first = found.get(waiting)
        # A first attempt in the future was before the clock was set back.
        if first is None or first.first > now:
            first = Seen(now, now)
            self._history.record(waiting, first)
        left = first.first + delay - now
        if left > 0:
            return wait("greylisted", left, KEY)
        make_known(self._history, found, keys, now)
        self._know(client, sender, now)
        report(
            GreylistPassed(
                client=client.ip,
                session=client.session,
                sender=format_path(sender),
                seconds=round(now - first.first),
            )
        )
        return ACCEPTED

    def _know(self, client: Client, sender: Address, now: float) -> None:
        """The sender is known from its network, too: its next message needs no SPF."""
        _, passed, _ = known_keys(network_of(client.ip), sender)
        self._history.record(passed, Seen(now, now))

    async def _spf(self, client: Client, sender: Address) -> str:
        result: SPFResult = await check_spf(
            self._resolver,
            self._clock,
            SPFRequest(ip=client.ip, helo=client.helo, reverse_path=sender),
            SPF_TIME,
        )
        return result.result


def signers(domain: str) -> Sequence[str]:
    """The domains that may sign the mail of a sender in ``domain``: this one, and those above it."""
    labels = domain.split(".")
    above = [".".join(labels[start:]) for start in range(1, len(labels) - 1)]
    return (domain, *above[1 - MOST_SIGNERS :])
