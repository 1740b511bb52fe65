"""The record of a dry run: which check decided what, by which key, and the DNS answers that it had.

Checks, router and resolver are put behind stand-ins that write into the record and change nothing.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from mailserver.dns.interfaces import IResolver
from mailserver.dns.records import MX, DNSAnswer, RecordKind
from mailserver.interfaces import IContent, IIncomingMessage, IRouter, ISendingLimits, ISpool, RouteVerdict
from mailserver.mail.address import Address, format_path
from mailserver.mail.envelope import Envelope
from mailserver.mail.verdict import Accept, Defer, Moved, Refuse, Routed
from mailserver.queue.entries import InMemoryContent
from mailserver.reception.checks import CheckResult, CheckVerdict, then
from mailserver.reception.transaction import Transaction

# The key or the part of the configuration that a check belongs to, by its class.
NAMES = {
    "SendingRates": "limits",
    "ReputationCheck": "dnsbl, policy.score_threshold",
    "SenderOwnership": "submission.senders",
    "RelayPermission": "relay",
    "NullMX": "null MX",
    "MailboxQuota": "storage.quota",
    "ForwardingLoop": "mail loops",
    "SenderAuthentication": "policy.spf, policy.dkim, policy.dmarc",
    "Greylisting": "policy.greylist",
    "SignedSenders": "policy.greylist, with DKIM",
    "FirstContactDelay": "policy.first_contact",
    "FirstContact": "policy.first_contact",
    "Delays": "policy.greylist, policy.first_contact",
    "Correspondents": "history of contacts",
    "DKIMSigning": "dkim",
}


class Explanation:
    """The lines of the record."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._is_over = False

    def stage(self, text: str) -> None:
        """Another stage of the session begins."""
        self.lines.append(text)

    def end(self, text: str) -> None:
        """The last line. Answers to questions that nobody waits for any more are not recorded."""
        self.stage(text)
        self._is_over = True

    def note(self, text: str) -> None:
        """Something that belongs to the stage."""
        if not self._is_over:
            self.lines.append(f"    {text}")

    def decided(self, name: str, verdict: object) -> None:
        """A check has decided."""
        match verdict:
            case Accept(_, fields, aside):
                text = "accepted" if aside is None else f"kept aside: {aside.reason} ({aside.key})"
                self.note(f"{name}: {text}")
                unfolded = fields.decode(errors="replace").replace("\r\n\t", " ").replace("\r\n ", " ")
                for field in unfolded.splitlines():
                    self.note(f"    adds {field}")
            case Defer(_, text, key):
                self.note(f"{name}: deferred: {text} ({key})")
            case Refuse(_, text, key):
                self.note(f"{name}: rejected: {text} ({key})")

    # ------------------------------------------------------------ stand-ins

    def check(self, check: object) -> object:
        """A check whose decisions are recorded."""
        name = type(check).__name__
        return _of(check, NAMES.get(name, name), self)

    def resolver(self, resolver: IResolver) -> "NotedResolver":
        """A resolver whose answers are recorded."""
        return NotedResolver(resolver, self)

    def router(self, router: IRouter) -> "NotedRouter":
        """A router whose decisions are recorded."""
        return NotedRouter(router, self)


def _of(check: object, name: str, explanation: Explanation) -> "NotedCheck":
    noted = NotedCheck(check, name, explanation)
    directlyProvides(noted, *providedBy(check))
    return noted


class NotedCheck:
    """A check of any stage, or an examination of one message."""

    def __init__(self, check: object, name: str, explanation: Explanation) -> None:
        self._check = check
        self._name = name
        self._explanation = explanation

    # Any: each stage has a method of its own.
    def __getattr__(self, name: str) -> Any:
        method = getattr(self._check, name)
        if name == "examine":
            return partial(self._examine, method)
        return partial(self._ask, method) if name.startswith("check_") else method

    def _ask(self, method: Any, *subject: object) -> CheckResult:
        return then(method(*subject), self._noted)

    def _noted(self, verdict: CheckVerdict) -> CheckVerdict:
        self._explanation.decided(self._name, verdict)
        return verdict

    def _examine(self, method: Any, transaction: Transaction) -> object:
        examination = method(transaction)
        return None if examination is None else _of(examination, self._name, self._explanation)


@implementer(IResolver)
class NotedResolver:
    """Records each answer once."""

    def __init__(self, resolver: IResolver, explanation: Explanation) -> None:
        self._resolver = resolver
        self._explanation = explanation
        self._seen: set[tuple[str, str]] = set()

    def lookup(self, name: str, kind: RecordKind) -> Deferred[DNSAnswer]:
        """See :class:`IResolver`."""
        asked: Deferred[Any] = self._resolver.lookup(name, kind)
        return asked.addBoth(self._noted, name, kind)

    def known(self, name: str, kind: RecordKind) -> DNSAnswer | None:
        """See :class:`IResolver`."""
        known: DNSAnswer | None = self._resolver.known(name, kind)
        return known if known is None else self._noted(known, name, kind)

    def _noted(self, result: Any, name: str, kind: str) -> Any:
        if (name, kind) not in self._seen:
            self._seen.add((name, kind))
            self._explanation.note(f"DNS {name} {kind}: {_answer(result)}")
        return result


def _answer(result: DNSAnswer | Failure) -> str:
    if isinstance(result, Failure):
        return f"no answer: {result.value}"
    if not result.exists:
        return "the name does not exist"
    return ", ".join(map(_record, result.records)) or "no such record"


def _record(record: object) -> str:
    match record:
        case bytes():
            return f'"{record.decode(errors="backslashreplace")}"'
        case MX(preference, host):
            return f"{preference} {host}"
    return str(record)


@implementer(IRouter)
class NotedRouter:
    """Records where recipients lead to."""

    def __init__(self, router: IRouter, explanation: Explanation) -> None:
        self._router = router
        self._explanation = explanation
        self.postmaster: Address = router.postmaster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._router, name)

    def route(self, recipient: Address) -> "RouteVerdict | Deferred[RouteVerdict]":
        """See :class:`IRouter`."""
        return then(self._router.route(recipient), self._noted)

    def _noted(self, verdict: RouteVerdict) -> RouteVerdict:
        match verdict:
            case Routed(destinations):
                places = [
                    f"{'another server, for ' if each.remote else 'mailbox '}{format_path(each.mailbox)}"
                    for each in destinations
                ]
                self._explanation.note(f"routing: {', '.join(places)}")
            case Moved(path):
                self._explanation.note(f"routing: rejected: the user has moved to {format_path(path)}")
            case _:
                self._explanation.decided("routing", verdict)
        return verdict


@implementer(ISendingLimits)
class UncountedLimits:
    """Limits that are never reached: a dry run is not counted."""

    def message(self, client: str, account: str, sender_domain: str) -> None:
        """See :class:`ISendingLimits`."""

    def recipient(self, client: str, account: str, sender_domain: str) -> None:
        """See :class:`ISendingLimits`."""

    def probe(self, client: str) -> None:
        """See :class:`ISendingLimits`."""

    def recipient_failed(self, client: str) -> None:
        """See :class:`ISendingLimits`."""


@implementer(ISpool)
class DrySpool:
    """Accepts messages, and forgets them. ``fields`` are those that the checks have added to the last one."""

    def receive(self, envelope: Envelope, trace: bytes) -> "DryMessage":
        """See :class:`ISpool`."""
        return DryMessage()

    def put(self, message: object, copies: object) -> Deferred[Any]:
        """See :class:`ISpool`. A dry run never needs it."""
        raise NotImplementedError


@implementer(IIncomingMessage)
class DryMessage:
    """A message of a dry run, in memory."""

    def __init__(self) -> None:
        self._octets: list[bytes] = []

    @property
    def content(self) -> IContent:
        """See :class:`IIncomingMessage`."""
        return InMemoryContent(b"".join(self._octets))

    def write(self, data: bytes) -> None:
        """See :class:`IIncomingMessage`."""
        self._octets.append(data)

    def commit(
        self,
        fields: bytes = b"",
        together: Sequence[Collection[Address]] | None = None,
        aside: Address | None = None,
        changed: IContent | None = None,
    ) -> Deferred[Collection[Address]]:
        """See :class:`IIncomingMessage`."""
        return succeed(())

    def abandon(self) -> None:
        """See :class:`IIncomingMessage`."""
