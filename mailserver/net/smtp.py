"""SMTP on a transport: the receiver's events, answered by routing and the spool."""

import time
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.errors import MailboxFull, StorageError, StorageFull
from mailserver.interfaces import IIncomingMessage, IReactor, IRouter, ISpool
from mailserver.mail.address import format_path
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import new_id
from mailserver.mail.trace import received
from mailserver.mail.verdict import (
    MAIL_SYSTEM,
    MAIL_SYSTEM_FULL,
    MAILBOX_FULL,
    Accept,
    Defer,
    Refuse,
    Verdict,
)
from mailserver.net.connection import Connection, ConnectionFactory, client_ip, fired
from mailserver.smtp.events import (
    AddressAsked,
    Event,
    ListAsked,
    MessageAborted,
    MessageChunk,
    MessageEnded,
    MessageStarted,
    OutputFull,
    RecipientOffered,
)
from mailserver.smtp.replies import reply
from mailserver.smtp.session import Session
from mailserver.smtp.settings import Settings

# Octets of a message that come at once when more are waiting; from then on that many are read at a time.
_LARGE = 32 * 1024
READ_SIZE = 256 * 1024


class SMTPConnection(Connection):
    """One SMTP client."""

    log = Logger()
    factory: "SMTPFactory"
    session: Session

    def __init__(self, factory: "SMTPFactory", client_ip: str) -> None:
        super().__init__(factory, client_ip)
        self.settings = factory.settings_for(client_ip)
        self.session = Session(self.settings)
        self._incoming: IIncomingMessage | None = None
        self._envelope: Envelope | None = None
        self._transaction = 0
        self._since = 0.0

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        session, now = self.session, self.factory.reactor.seconds()
        if not session.in_transaction or session.transactions != self._transaction:
            self._transaction, self._since = session.transactions, now
        elif now - self._since > self.factory.transaction_timeout() and not session.paused:
            self.end(self.timed_out)

    def handle(self, event: Event) -> Deferred[Any] | None:
        match event:
            case MessageChunk(data):
                assert self._incoming is not None
                if len(data) >= _LARGE:
                    self.wire.bufferSize = READ_SIZE
                return self._incoming.write(data)
            case RecipientOffered(recipient):
                return self._ask(self.factory.router.route(recipient))
            case MessageStarted():
                self._begin(event)
                return None
            case MessageEnded():
                return self._commit()
            case MessageAborted():
                self._abandon()
                return None
            case AddressAsked(name):
                return self._ask(self.factory.router.verify(name))
            case ListAsked(name):
                return self._ask(self.factory.router.expand(name))
            case OutputFull():
                self.flush()
                return None

    def _begin(self, event: MessageStarted) -> None:
        envelope = Envelope(new_id(), event.reverse_path, event.recipients, event.destinations)
        trace = received(
            helo=event.helo,
            client_ip=self.client_ip,
            hostname=self.settings.hostname,
            protocol=event.protocol,
            id=envelope.id,
            recipients=event.recipients,
            when=self.factory.now(),
        )
        self._envelope = envelope
        self._incoming = self.factory.spool.receive(envelope, trace)

    def _commit(self) -> Deferred[Any]:
        incoming, envelope = self._incoming, self._envelope
        assert incoming is not None and envelope is not None
        self._incoming = self._envelope = None

        def kept(result: None) -> None:
            self.log.info(
                "{id}: accepted from {client}, reverse-path {reverse_path}, {count} recipients",
                id=envelope.id,
                client=self.client_ip,
                reverse_path=format_path(envelope.reverse_path),
                count=len(envelope.recipients),
                recipients=envelope.recipients,
            )
            self._answer(Accept(f"Ok: queued as {envelope.id}"))

        def not_kept(failure: Failure) -> None:
            failure.trap(StorageError)
            self.log.error("{id}: not accepted: {reason}", id=envelope.id, reason=failure.value)
            if failure.check(MailboxFull):
                self._answer(Refuse(MAILBOX_FULL, "the mailbox is full"))
            elif failure.check(StorageFull):
                self._answer(Defer(MAIL_SYSTEM_FULL, "no room for the message now; please try again later"))
            else:
                self._answer(
                    Defer(MAIL_SYSTEM, "the message could not be stored now; please try again later")
                )

        return incoming.commit().addCallbacks(kept, not_kept)

    def _ask(self, answer: Deferred[Any]) -> Deferred[Any] | None:
        if fired(answer):
            self._answer(cast(Verdict, answer.result))
            return None
        return answer.addCallback(self._answer)

    def _answer(self, verdict: Verdict) -> None:
        # A client that was sent away meanwhile gets no answer; a message is kept all the same.
        if self.session.paused:
            self.session.answer(verdict)

    def _abandon(self) -> None:
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = self._envelope = None

    @property
    def busy(self) -> bool:
        return self.session.in_transaction

    def failed(self) -> None:
        if self.session.fail() is not None:
            self._abandon()

    def dismiss(self) -> None:
        self.session.disconnect(
            reply(421, "4.3.2", f"{self.settings.hostname} is shutting down; please try again later")
        )

    def timed_out(self) -> None:
        self.session.disconnect(reply(421, "4.4.2", f"{self.settings.hostname} has waited too long"))

    def gone(self) -> None:
        self._abandon()


class SMTPFactory(ConnectionFactory):
    """Makes SMTP connections for one listener."""

    def __init__(
        self,
        settings_for: Callable[[str], Settings],
        router: IRouter,
        spool: ISpool,
        reactor: IReactor,
        timeout: Callable[[], float],
        transaction_timeout: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        """``settings_for`` gives the settings for a client's IP address; ``timeout`` how many
        seconds a new client may take for a command, ``transaction_timeout`` how many for a whole
        transaction; ``now`` gives the seconds since the epoch for trace
        fields."""
        super().__init__(reactor, timeout)
        self.settings_for = settings_for
        self.router = router
        self.spool = spool
        self.transaction_timeout = transaction_timeout
        self.now = now

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return SMTPConnection(self, client_ip(addr))
