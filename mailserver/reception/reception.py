"""The settings of one listener for mail: its checks, its router, its trace fields, its spool."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.errors import StorageError
from mailserver.interfaces import IContent, IIncomingMessage, IMailFetcher, IQueueStarter, IRouter, ISpool
from mailserver.mail.address import Address
from mailserver.mail.completion import HeadCompleter
from mailserver.mail.envelope import Envelope
from mailserver.mail.filtering import HeadFilter
from mailserver.mail.ids import new_id
from mailserver.mail.quarantine import KeptAside, quarantine_of
from mailserver.mail.returned import header_of
from mailserver.mail.trace import received, received_locally
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    MAIL_SYSTEM,
    NOT_AUTHORIZED,
    Accept,
    Aside,
    CannotVerify,
    Defer,
    Forwarded,
    MailWaits,
    Members,
    Moved,
    QueueStarted,
    Refuse,
)
from mailserver.reception.checks import (
    CheckFunction,
    CheckResult,
    CheckVerdict,
    IClientCheck,
    IExaminer,
    IFetchPermission,
    IFinalCheck,
    IHeaderCheck,
    IHeloCheck,
    ILookupCheck,
    IMessageCheck,
    IQueueStartCheck,
    IRecipientCheck,
    IRoutedCheck,
    ISenderCheck,
    ISessionCheck,
    chain,
    then,
)
from mailserver.reception.transaction import Client, Transaction

LookupVerdict = Accept | Forwarded | Members | Moved | Defer | Refuse | CannotVerify

QueueVerdict = QueueStarted | Defer | Refuse
FetchVerdict = MailWaits | Defer | Refuse
NOT_FETCHED = Refuse(NOT_AUTHORIZED, "the account may not fetch the mail for this domain", "relay.atrn")
NOT_STARTED = Refuse(NOT_AUTHORIZED, "no mail is kept for other domains", "relay.domains")

_V = TypeVar("_V")


def _queue_unreadable(failure: Failure) -> Defer:
    failure.trap(StorageError, OSError)
    return Defer(MAIL_SYSTEM, "the queue is not available now", "storage")


class Reception:
    """The part of the reception that all clients of a listener share. Each client has a
    :class:`~mailserver.reception.receiver.MailReceiver` of its own."""

    def __init__(
        self,
        router: IRouter,
        spool: ISpool,
        checks: Iterable[object] = (),
        *,
        hostname: str,
        listener: str = "",
        complete_header: bool = False,
        remove_bcc: bool = False,
        hide_client: bool = False,
        starter: IQueueStarter | None = None,
        fetcher: IMailFetcher | None = None,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        """``checks`` run in this order, each at the stages whose interface it provides.

        ``complete_header`` adds missing header fields to a submitted message (RFC 6409 section 8);
        ``remove_bcc`` then removes Bcc fields. ``hide_client`` omits the client from the Received field.
        ``starter`` starts the queue for ETRN, ``fetcher`` sends waiting mail for ATRN. ``now`` returns the
        seconds since the epoch, ``new_id`` the id of a message.
        """
        self.router = router
        self._spool = spool
        self.listener = listener
        checks = tuple(checks)
        clients = [one.check_client for one in checks if IClientCheck.providedBy(one)]
        clients += [one.check_helo for one in checks if IHeloCheck.providedBy(one)]
        self.check_client = chain(clients) if clients else None
        self.check_sender = chain([one.check_sender for one in checks if ISenderCheck.providedBy(one)])
        self.check_recipient = chain(
            [one.check_recipient for one in checks if IRecipientCheck.providedBy(one)]
        )
        self.check_routed = chain([one.check_routed for one in checks if IRoutedCheck.providedBy(one)])
        messages: list[CheckFunction] = [
            partial(_on_header, one.check_header) for one in checks if IHeaderCheck.providedBy(one)
        ]
        messages += [one.check_message for one in checks if IMessageCheck.providedBy(one)]
        self.check_final = [one.check_final for one in checks if IFinalCheck.providedBy(one)]
        self.check_content = messages
        # The check of a message without examinations.
        content = [*messages, *self.check_final]
        self.check_message = chain(content) if content else None
        self.examiners = [one.examine for one in checks if IExaminer.providedBy(one)]
        starts = [one.check_queue_start for one in checks if IQueueStartCheck.providedBy(one)]
        self._check_queue_start = chain(starts) if starts else None
        self._starter = starter
        self._fetch_permissions = [one for one in checks if IFetchPermission.providedBy(one)]
        self._fetcher = fetcher
        self._of_sessions = [one for one in checks if ISessionCheck.providedBy(one)]
        self._lookups = [one for one in checks if ILookupCheck.providedBy(one)]
        self._check_lookup = chain([one.check_lookup for one in self._lookups])
        self._hostname = hostname
        self._complete_header = complete_header
        self._remove_bcc = remove_bcc
        self._hide_client = hide_client
        self.now = now
        self.new_id = new_id

    # ------------------------------------------------------------ names

    def verify(self, client: Client, name: str) -> "LookupVerdict | Deferred[LookupVerdict]":
        """Answer VRFY: see :meth:`~mailserver.interfaces.IRouter.verify`."""
        return self._look_up(self.router.verify, client, name)

    def expand(self, client: Client, name: str) -> "LookupVerdict | Deferred[LookupVerdict]":
        """Answer EXPN: see :meth:`~mailserver.interfaces.IRouter.expand`."""
        return self._look_up(self.router.expand, client, name)

    def _look_up(
        self, ask: Callable[[str], Any], client: Client, name: str
    ) -> "LookupVerdict | Deferred[LookupVerdict]":
        def judged(verdict: CheckVerdict) -> "LookupVerdict | Deferred[LookupVerdict]":
            return then(ask(name), self.count_unknown, client) if isinstance(verdict, Accept) else verdict

        return then(self._check_lookup(client), judged)

    def count_unknown(self, verdict: _V, client: Client) -> _V:
        """Report an unknown name to the checks. Returns the verdict of the router unchanged."""
        if isinstance(verdict, Refuse) and verdict.status == BAD_MAILBOX:
            for check in self._lookups:
                check.unknown(client)
        return verdict

    def session_ended(self, session: str) -> None:
        """The client of this session has left."""
        for check in self._of_sessions:
            check.session_ended(session)

    # ------------------------------------------------------------ the queue

    def start_queue(self, client: Client, domain: str) -> "QueueVerdict | Deferred[QueueVerdict]":
        """Answer ETRN: start the queue for the domain, if the client may do so."""
        if self._check_queue_start is None or self._starter is None:
            return NOT_STARTED
        return then(self._check_queue_start(client, domain), self._queue_start_judged, domain)

    def _queue_start_judged(
        self, verdict: CheckVerdict, domain: str
    ) -> "QueueVerdict | Deferred[QueueVerdict]":
        if not isinstance(verdict, Accept):
            return verdict
        assert self._starter is not None
        started: Deferred[Any] = self._starter.start_domain(domain)
        return started.addErrback(_queue_unreadable)

    def find_waiting(self, client: Client, domains: Sequence[str]) -> "FetchVerdict | Deferred[FetchVerdict]":
        """Answer ATRN: the domains with mail, of ``domains`` or of all that the client may fetch."""
        allowed = [
            domain
            for one in self._fetch_permissions
            for domain in (one.fetchable(client.account) if client.account is not None else ())
        ]
        if self._fetcher is None or not allowed or not set(allowed).issuperset(domains):
            return NOT_FETCHED
        waiting: Deferred[Any] = self._fetcher.waiting(domains or allowed)
        return waiting.addCallbacks(lambda found: MailWaits(tuple(found)), _queue_unreadable)

    def fetch(self, domains: Sequence[str], to: object, is_over: Callable[[], bool]) -> "Deferred[None]":
        """See :meth:`~mailserver.interfaces.IMailFetcher.fetch`."""
        assert self._fetcher is not None
        fetching: Deferred[None] = self._fetcher.fetch(domains, to, is_over)
        return fetching

    # ------------------------------------------------------------ messages

    def receive(self, transaction: Transaction) -> tuple[IIncomingMessage, HeadFilter]:
        """Begin to receive a message: its sink, and the filter that its content must pass first.

        The sink writes Received and the header fields of the checks in front of the content.
        """
        client, envelope, now = transaction.client, self._envelope(transaction), self.now()
        author = ""
        if client.local is None:
            trace = received(
                helo=client.helo,
                client_ip=client.ip,
                hostname=self._hostname,
                protocol=client.protocol,
                id=transaction.id,
                recipients=envelope.recipients,
                when=now,
                tls=client.tls,
                hide_client=self._hide_client,
            )
        else:
            author = client.local.author
            trace = received_locally(
                uid=client.local.uid,
                hostname=self._hostname,
                id=transaction.id,
                recipients=envelope.recipients,
                when=now,
            )
        incoming = self._spool.receive(envelope, transaction.fields + trace)
        if not self._complete_header:
            return incoming, HeadFilter()
        completer = HeadCompleter(
            hostname=self._hostname,
            id=transaction.id,
            when=now,
            remove_bcc=self._remove_bcc,
            author=author,
        )
        return incoming, completer

    def keep_aside(self, transaction: Transaction, aside: Aside) -> tuple[Address, bytes]:
        """The mailbox for a message that is kept aside, and the header fields to release it with."""
        envelope = self._envelope(transaction)
        here = [each.mailbox.domain for each in envelope.destinations if not each.remote]
        domain = here[0] if here else self.router.postmaster.domain
        return quarantine_of(domain), KeptAside.of(envelope, aside).fields

    def _envelope(self, transaction: Transaction) -> Envelope:
        envelope = transaction.envelope()
        if envelope.reverse_path is not None:
            for destination in envelope.destinations:
                if destination.is_forwarded and destination.bounces_to is None:
                    forward_path = self.router.forward_path(envelope.reverse_path)
                    return attrs.evolve(envelope, forward_path=forward_path)
        return envelope


def _on_header(check: CheckFunction, transaction: Transaction, content: IContent) -> CheckResult:
    """A check of the header as one of the content."""
    return check(transaction, header_of(content.chunks()))
