"""SMTP on a transport: the receiver's events, answered by routing and the spool."""

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.errors import MailboxFull, StorageError, StorageFull
from mailserver.interfaces import IAuthenticator, IIncomingMessage, IReactor, IRouter, ISpool
from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.completion import HeadCompleter
from mailserver.mail.envelope import Envelope
from mailserver.mail.filtering import HeadFilter
from mailserver.mail.ids import new_id
from mailserver.mail.trace import received
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    MAIL_SYSTEM,
    MAIL_SYSTEM_FULL,
    MAILBOX_FULL,
    Accept,
    Defer,
    Moved,
    Refuse,
    Verdict,
)
from mailserver.mail.words import Names
from mailserver.net.clients import Refusal
from mailserver.net.connection import Connection
from mailserver.net.entrance import Entrance
from mailserver.net.factory import ConnectionFactory
from mailserver.net.results import fired
from mailserver.net.visit import Visit
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, OutputFull, TLSWanted
from mailserver.smtp.events import (
    AddressAsked,
    Event,
    ListAsked,
    LoggedIn,
    MessageAborted,
    MessageChunk,
    MessageEnded,
    MessageStarted,
    RecipientOffered,
    SenderOffered,
)
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import reply
from mailserver.smtp.session import Session

# Octets of a message that come at once when more are waiting; from then on that many are read at a time.
_LARGE = 32 * 1024
READ_SIZE = 256 * 1024

_Verdict = TypeVar("_Verdict", bound=Verdict)

_SENDER_OK = Accept("Ok")
_TOO_EARLY = reply(554, "5.5.1", "the client spoke before it was greeted")


class SMTPConnection(Connection):
    """One SMTP client."""

    log = Logger()
    section = "smtp"
    factory: "SMTPFactory"
    session: Session

    def __init__(self, factory: "SMTPFactory", client_ip: str) -> None:
        super().__init__(factory, client_ip)
        self.options: SMTPOptions = factory.options(client_ip)
        self.greeting_delay = self.options.greeting_delay
        self.session = Session(self.options)
        self._visit = Visit(client_ip, self.client, factory.authenticator, factory.entrance.limits)
        self._sender_domain = ""
        self._head: HeadFilter | None = None
        self._incoming: IIncomingMessage | None = None
        self._envelope: Envelope | None = None
        self._sender = "<>"
        self._octets = 0

    def overdue(self) -> None:
        self.tell_refused("the transaction takes too long", "smtp.transaction_timeout")
        self.end(self.timed_out)

    def handle(self, event: Event) -> object:
        match event:
            case MessageChunk(data):
                return self._write(data)
            case SenderOffered(path):
                return self._judge_sender(path)
            case RecipientOffered(recipient):
                return self._judge_recipient(recipient)
            case MessageStarted():
                self._begin(event)
                return None
            case MessageEnded():
                return self._commit()
            case MessageAborted(reason, rule):
                if self._envelope is not None:
                    self._tell_of(self._envelope, self.log.info, "refused", reason, rule)
                self._abandon()
                return None
            case LoginAsked(mechanism, question):
                return self.logging_in(self._visit.answer(mechanism, question, self.wait))
            case LoginRefused(mechanism, name, reason):
                return self.logging_in(self._visit.refused(mechanism, name, reason, self.wait))
            case LoggedIn(account):
                self.log.info("{user}: logged in from {client}", user=account, client=self.client_ip)
                return None
            case TLSWanted(discarded):
                return Deferred.fromCoroutine(self.begin_tls(discarded))
            case AddressAsked(name):
                return self._tell(self.factory.router.verify, name)
            case ListAsked(name):
                return self._tell(self.factory.router.expand, name)
            case CommandRefused(reason, rule, ended):
                return self.refused(reason, rule, ended)
            case OutputFull():
                self.flush()
                return None

    # ------------------------------------------------------------ sender and recipients

    def _judge_sender(self, path: ReversePath) -> object:
        self.due = self.slice_began + self.options.transaction_timeout
        account = self.session.user
        self._sender = format_path(path)
        domain = path.domain if path is not None else ""
        # Strangers may give any domain: what they do is not on the account of who has logged in.
        self._sender_domain = f"@{domain}" if account and domain else domain
        limits = self.factory.entrance.limits
        if refusal := limits.message(self.client, account, self._sender_domain):
            self._refused(refusal.verdict, self._sender, refusal.rule)
            return refusal.verdict
        if not account or self.options.users.senders == "any":
            return _SENDER_OK
        assert self._visit.user is not None
        verdict = self.factory.router.sender(self._visit.user.address, path)
        return self._judge(verdict, self._sender, "submission.senders")

    def _judge_recipient(self, recipient: Address) -> object:
        limits = self.factory.entrance.limits
        if refusal := limits.recipient(self.client, self.session.user, self._sender_domain):
            self._refused(refusal.verdict, recipient, refusal.rule)
            return refusal.verdict
        return self._judge(self.factory.router.route(recipient), recipient)

    def _tell(self, ask: Callable[[str], Deferred[_Verdict]], name: str) -> object:
        if refusal := self.factory.entrance.limits.probe(self.client):
            self._refused(refusal.verdict, name, refusal.rule)
            return refusal.verdict
        return self._judge(ask(name), name)

    def _judge(
        self, verdict: Deferred[_Verdict], what: str | Address, rule: str = "routing"
    ) -> _Verdict | Deferred[_Verdict]:
        """Pass a verdict on. If it refuses ``what``, log that, and the ``rule``."""
        if fired(verdict):
            return self._judged(cast(_Verdict, verdict.result), what, rule)
        return verdict.addCallback(self._judged, what, rule)

    def _judged(self, verdict: _Verdict, what: str | Address, rule: str) -> _Verdict:
        if isinstance(verdict, Defer | Refuse | Moved):
            self._refused(verdict, what, rule)
        return verdict

    def _refused(self, verdict: Defer | Refuse | Moved, what: str | Address, rule: str) -> None:
        """Log that ``what`` is refused: a recipient, or the name in another command."""
        if isinstance(what, Address):
            what = f"{self._sender} to {format_path(what)}"
        reason = "moved" if isinstance(verdict, Moved) else verdict.text
        if not isinstance(verdict, Moved) and verdict.status == BAD_MAILBOX:
            self.factory.entrance.limits.recipient_failed(self.client)
        elif not isinstance(verdict, Moved):
            rule = {MAILBOX_FULL: "storage.quota", MAIL_SYSTEM: "storage"}.get(verdict.status, rule)
        self.tell_refused(reason, rule, what, self.session.user)

    # ------------------------------------------------------------ the message

    def _write(self, data: bytes) -> Deferred[None] | None:
        assert self._incoming is not None and self._head is not None
        if len(data) >= _LARGE:
            self.wire.bufferSize = READ_SIZE
        data = self._head.feed(data)
        self._octets += len(data)
        return self._incoming.write(data) if data else None

    def _begin(self, event: MessageStarted) -> None:
        envelope = Envelope(
            new_id(), event.reverse_path, event.recipients, event.destinations, self.client_ip
        )
        self._octets = 0
        trace = received(
            helo=event.helo,
            client_ip=self.client_ip,
            hostname=self.options.hostname,
            protocol=event.protocol,
            id=envelope.id,
            recipients=event.recipients,
            when=self.factory.now(),
            tls=self.tls,
            hide_client=self.options.submission and self.options.users.hide_client,
        )
        self._envelope = envelope
        self._incoming = self.factory.spool.receive(envelope, trace)
        if self.options.submission:
            self._head = HeadCompleter(
                hostname=self.options.hostname,
                id=envelope.id,
                when=self.factory.now(),
                remove_bcc=self.options.users.remove_bcc,
            )
        else:
            self._head = HeadFilter()

    def _commit(self) -> Deferred[Verdict]:
        incoming, envelope = self._incoming, self._envelope
        assert incoming is not None and envelope is not None and self._head is not None
        rest = self._head.finish()
        self._incoming = self._envelope = self._head = None

        def kept(result: None) -> Verdict:
            self.log.info(
                "{id}: accepted: {sender} to {recipients} (client {client}, {size} octets)",
                size=self._octets,
                **self._fields(envelope),
            )
            return Accept(f"Ok: queued as {envelope.id}")

        def not_kept(failure: Failure) -> Verdict:
            error = failure.value
            failure.trap(StorageError)
            rule, verdict = _not_kept(failure)
            reason = f"{error}: {Names(error.mailboxes)}" if isinstance(error, MailboxFull) else str(error)
            self._tell_of(
                envelope,
                self.log.info if rule == "storage.quota" else self.log.error,
                "refused" if isinstance(verdict, Refuse) else "deferred",
                reason,
                rule,
            )
            return verdict

        self._octets += len(rest)
        waiting = incoming.write(rest) if rest else None
        done = incoming.commit() if waiting is None else waiting.addCallback(lambda _: incoming.commit())
        return done.addCallbacks(kept, not_kept)

    def _fields(self, envelope: Envelope) -> dict[str, Any]:
        """What each line of the log on a message says of it."""
        return {
            "id": envelope.id,
            "sender": self._sender,
            "recipients": Names(envelope.recipients),
            "client": self.client_ip,
            "account": self.session.user,
        }

    def _tell_of(
        self, envelope: Envelope, report: Callable[..., None], outcome: str, reason: str, rule: str
    ) -> None:
        """Log that a message is not accepted."""
        report(
            "{id}: {outcome}: {sender} to {recipients}: {reason} (client {client}, {rule})",
            outcome=outcome,
            reason=reason,
            rule=rule,
            **self._fields(envelope),
        )

    def _abandon(self) -> None:
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = self._envelope = self._head = None

    def dismiss(self) -> None:
        self.session.disconnect(
            reply(421, "4.3.2", f"{self.options.hostname} is shutting down; please try again later")
        )

    def timed_out(self) -> None:
        self.session.disconnect(reply(421, "4.4.2", f"{self.options.hostname} has waited too long"))

    def turned_away(self, refusal: Refusal) -> bytes:
        return reply(421, "4.7.0", refusal.text).octets

    def spoke_early(self) -> None:
        refuse = self.options.early_talkers == "refuse"
        self.log.info(
            "{what} {client}: it spoke before it was greeted",
            what="refused" if refuse else "noticed",
            client=self.client_ip,
            reason="it spoke before it was greeted",
            rule="smtp.early_talkers",
        )
        if refuse:
            self.session.disconnect(_TOO_EARLY)

    def gone(self) -> None:
        self._visit.left()
        self._abandon()


def _not_kept(failure: Failure) -> tuple[str, Defer | Refuse]:
    """Who decided that a message is not kept, and what the client is told."""
    if failure.check(MailboxFull):
        return "storage.quota", Refuse(MAILBOX_FULL, "the mailbox is full")
    if failure.check(StorageFull):
        text = "no room for the message now; please try again later"
        return "storage.reserve", Defer(MAIL_SYSTEM_FULL, text)
    return "storage", Defer(MAIL_SYSTEM, "the message could not be stored now; please try again later")


class SMTPFactory(ConnectionFactory):
    """Makes SMTP connections for one listener."""

    def __init__(
        self,
        entrance: Entrance,
        options: Callable[[str], SMTPOptions],
        router: IRouter,
        spool: ISpool,
        authenticator: IAuthenticator,
        reactor: IReactor,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``options`` gives those for a client's IP address; ``now`` the seconds since the epoch for trace
        fields."""
        super().__init__(entrance, reactor)
        self.options = options
        self.router = router
        self.spool = spool
        self.authenticator = authenticator
        self.now = now

    def connection(self, client_ip: str) -> SMTPConnection:
        """See the base class."""
        return SMTPConnection(self, client_ip)
