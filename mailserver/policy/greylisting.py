"""Greylisting: the first attempt of an unknown sender is deferred (RFC 6647).

Real mail servers try again; most programs that send spam do not. A sender who has tried again is known from
then on, for all recipients. Known are also the addresses that somebody here has written to, and the networks
from which several senders have passed. A client counts by its network, since large servers try again from
another address; a sender who passes SPF counts by its domain. DKIM comes too late: it is known only after
the data.

Mail with the null reverse-path is never deferred: it may be a bounce for a user here, or the question of
another server whether the sender of a message exists (a callback), which would then defer that message.
Neither is mail to the postmaster.
"""

import ipaddress
import math
import re
from collections.abc import Callable
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
from mailserver.mail.verdict import NOT_AUTHORIZED, Defer
from mailserver.policy.guard import CheckGuard
from mailserver.policy.history import Found, History, see, written_key
from mailserver.policy.reputation.values import ClientReputation
from mailserver.policy.sender_verdict import ErrorMode
from mailserver.policy.spf.lookups import check_spf
from mailserver.policy.spf.values import SPFRequest, SPFResult
from mailserver.policy.strangers import client_address, is_open, is_stranger
from mailserver.reception.checks import ACCEPTED, CheckResult, CheckVerdict, IRoutedCheck
from mailserver.reception.transaction import Client, Recipient, Transaction

GOOD_NETWORK = 5  # senders from a network that have passed, after which all of it passes
SPF_TIME = 5.0  # seconds

# Parts of a local part that differ from message to message: numbers, what looks like a hash, and the tags of
# BATV, SRS and plus addresses.
_VARIABLE = re.compile(r"\b[0-9a-f]*[0-9][0-9a-f]*\b")
_TAG = re.compile(r"^prvs=[^=]*=|^srs[01][=+-][^=]*=[^=]*=|\+.*$")


# Address and name of the client, and the sender.
SparedSender = tuple[str, str, str]


class SparedSenders(Protocol):
    """Remembers for a short time who need not wait, since to find that takes SPF."""

    def has(self, key: SparedSender) -> bool:
        """Whether a sender is remembered."""

    def put(self, key: SparedSender, value: None) -> None:
        """Remember a sender."""


@attrs.frozen(kw_only=True)
class GreylistRules:
    """``mode`` says whose mail is deferred; ``delay`` is the time in seconds until an attempt passes."""

    mode: Literal["suspicious", "all"]
    delay: float
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
            self._see(found, keys)
            return ACCEPTED
        if self._spared.has((client.ip, client.helo, str(sender))):
            return ACCEPTED
        return self._guard.run(client, self._deferred, found, client, sender, recipient.address)

    def _deferred(self, *arguments: Any) -> CheckResult:
        return Deferred.fromCoroutine(self._judge(*arguments))

    async def _judge(
        self, finding: Found | Deferred[Found], client: Client, sender: Address, recipient: Address
    ) -> CheckVerdict:
        try:
            found = await finding if isinstance(finding, Deferred) else finding
            origin = network_of(client.ip)
            if is_known(found):
                self._see(found, known_keys(origin, sender))
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
            return await self._wait(origin, client, sender, recipient)
        except StorageError:
            return ACCEPTED

    async def _wait(self, origin: str, client: Client, sender: Address, recipient: Address) -> CheckVerdict:
        """Accept another attempt that comes late enough."""
        now, delay = self._now(), self._rules.delay
        keys = known_keys(origin, sender)
        waiting: SeenKey = ("waiting", _key(origin, _constant(sender), str(recipient.key)))
        finding = self._history.find(*keys, waiting)
        found = await finding if isinstance(finding, Deferred) else finding
        if is_known(found):
            self._see(found, keys)
            self._know(client, sender, now)
            return ACCEPTED
        first = found.get(waiting)
        # A first attempt in the future was before the clock was set back.
        if first is None or first.first > now:
            first = Seen(now, now)
            self._history.record(waiting, first)
        left = first.first + delay - now
        if left > 0:
            seconds = math.ceil(left)
            text = f"greylisted: please try again in {seconds} second{'s' if seconds != 1 else ''}"
            return Defer(NOT_AUTHORIZED, text, "policy.greylist")
        _, passed, network = keys
        self._history.record(passed, Seen(now, now))
        self._know(client, sender, now)
        known = found.get(network)
        count = known.count + 1 if known is not None else 1
        self._history.record(network, Seen(now, now, count))
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

    def _see(self, found: Found, keys: tuple[SeenKey, ...]) -> None:
        """A known sender stays known."""
        for key in keys:
            if key in found:
                see(self._history, key, found[key], self._now())

    async def _spf(self, client: Client, sender: Address) -> str:
        result: SPFResult = await check_spf(
            self._resolver,
            self._clock,
            SPFRequest(ip=client.ip, helo=client.helo, reverse_path=sender),
            SPF_TIME,
        )
        return result.result


def network_of(ip: str) -> str:
    """The network of a client: a /24 of IPv4, a /64 of IPv6."""
    address = client_address(ip)
    return str(ipaddress.ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False))


def known_keys(origin: str, sender: Address) -> tuple[SeenKey, SeenKey, SeenKey]:
    """The entries that make a sender known. ``origin`` is a network, or the domain of the sender."""
    return written_key(sender), ("passed", _key(origin, _constant(sender))), ("network", origin)


def is_known(found: Found) -> bool:
    """Whether the entries of these keys make a sender known."""
    return any(
        kind in ("written", "passed") or (kind == "network" and seen.count >= GOOD_NETWORK)
        for (kind, _), seen in found.items()
    )


def _constant(sender: Address) -> str:
    """The sender without the parts that differ from message to message, such as those of VERP."""
    local = _TAG.sub("", sender.key.local)
    return f"{_VARIABLE.sub('#', local)}@{sender.domain}"


def _key(*parts: str) -> str:
    return " ".join(parts)
