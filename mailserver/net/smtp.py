"""SMTP connections: the reception and the accounts answer the events of the session."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred

from mailserver.errors import HostUnusable
from mailserver.events.base import report
from mailserver.events.connections import (
    ClientNamedByProxy,
    EarlyTalkerNoticed,
    LoginSucceeded,
    MailFetchFailed,
    MailFetchStarted,
    OriginNamedByFilter,
)
from mailserver.interfaces import IAuthenticator, IReactor
from mailserver.mail.address import Address, format_path
from mailserver.mail.verdict import (
    NOT_AUTHORIZED,
    Accept,
    Defer,
    MailWaits,
    Moved,
    QueueStarted,
    Refuse,
    Routed,
)
from mailserver.net.connection import Connection
from mailserver.net.factory import ConnectionFactory
from mailserver.net.listener_context import ListenerContext
from mailserver.net.login_attempts import LoginAttempts
from mailserver.net.reversed import reversed_connection
from mailserver.net.sending import SendingConnection
from mailserver.reception.checks import ACCEPTED, CheckVerdict, then
from mailserver.reception.receiver import MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client
from mailserver.sasl.steps import Admit
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, OutputFull, TLSWanted
from mailserver.smtp.events import (
    AddressAsked,
    Attributes,
    ClientNamed,
    FetchAsked,
    ListAsked,
    LoggedIn,
    MessageAborted,
    MessageChunk,
    MessageEnded,
    MessageStarted,
    MessageWithdrawn,
    NamedClient,
    QueueStartAsked,
    RecipientOffered,
    RolesReversed,
    SenderOffered,
    SMTPEvent,
)
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import reply
from mailserver.smtp.session import SMTPSession

# A chunk of this size means that more octets are waiting. Larger reads follow.
_LARGE = 32 * 1024
READ_SIZE = 256 * 1024

_TOO_EARLY = reply(554, "5.5.1", "command sent before the greeting")
_ACCEPTED = (Accept, Routed, QueueStarted, MailWaits)
_REFUSALS = (Defer, Refuse, Moved)

Offered = SenderOffered | RecipientOffered | AddressAsked | ListAsked | QueueStartAsked | FetchAsked


class SMTPConnection(Connection):
    """One SMTP client."""

    section = "smtp"
    factory: "SMTPFactory"
    session: SMTPSession

    def __init__(self, factory: "SMTPFactory", client_ip: str) -> None:
        super().__init__(factory, client_ip)
        self.options: SMTPOptions = factory.options(client_ip)
        self.greeting_delay = self.options.greeting_delay
        self.session = SMTPSession(self.options)
        self._logins = self._no_logins()
        self._reception = factory.reception()
        self._receiver = MailReceiver(self._reception)
        self._sending: SendingConnection | None = None  # after ATRN

    def _no_logins(self) -> LoginAttempts:
        factory = self.factory
        return LoginAttempts(
            self.section, self.id, self.client_ip, self.client, factory.authenticator, factory.context.limits
        )

    def overdue(self) -> None:
        self.log_rejection("transaction not finished within the time limit", "smtp.transaction_timeout")
        self.end(self.timed_out)

    def handle(self, event: SMTPEvent) -> object:
        match event:
            case MessageChunk(data):
                if len(data) >= _LARGE:
                    self.wire.bufferSize = READ_SIZE
                return self._receiver.write(data)
            case SenderOffered(reverse_path, parameters):
                self.due = self.slice_began + self.options.transaction_timeout
                verdict = self._receiver.sender(self._client_of(event), reverse_path, parameters)
                if event.origin:
                    verdict = then(verdict, self._log_origin, event.origin)
                return verdict if verdict is ACCEPTED else self._with_log(event, verdict)
            case RecipientOffered(recipient, parameters):
                return self._with_log(event, self._receiver.recipient(recipient, parameters))
            case ClientNamed(attributes):
                return self.logging_in(self._speak_for(attributes))
            case MessageStarted():
                self._receiver.start()
                return None
            case MessageEnded():
                receiver = self._receiver
                return receiver.finish_for_each() if self.options.lmtp else receiver.finish()
            case MessageWithdrawn():
                self._receiver.abandon()
                return None
            case MessageAborted(reason, rule):
                self._receiver.reject(reason, rule)
                return None
            case LoginAsked(mechanism, question):
                return self.logging_in(self._logins.answer(mechanism, question, self.wait))
            case LoginRefused(mechanism, name, reason):
                return self.logging_in(self._logins.rejected(mechanism, name, reason, self.wait))
            case LoggedIn(account):
                mechanism = self._logins.mechanism
                report(
                    LoginSucceeded(user=account, client=self.client_ip, session=self.id, mechanism=mechanism)
                )
                return None
            case TLSWanted(discarded):
                return Deferred.fromCoroutine(self.begin_tls(discarded))
            case AddressAsked(name):
                return self._with_log(event, self._reception.verify(self._unnamed_client(), name))
            case ListAsked(name):
                return self._with_log(event, self._reception.expand(self._unnamed_client(), name))
            case QueueStartAsked(domain):
                client = attrs.evolve(self._unnamed_client(), account=self._account())
                return self._with_log(event, self._reception.start_queue(client, domain))
            case FetchAsked(domains):
                client = attrs.evolve(self._unnamed_client(), account=self._account())
                return self._with_log(event, self._reception.find_waiting(client, domains))
            case RolesReversed(domains):
                self._reverse(domains)
                return None
            case CommandRefused(reason, rule, ended):
                return self.command_refused(reason, rule, ended)
            case OutputFull():
                self.flush()
                return None

    # ------------------------------------------------------------ verdicts

    def _client_of(self, offered: SenderOffered) -> Client:
        return Client(
            self.client_ip,
            self.client,
            self.proxy_ip,
            offered.helo,
            offered.protocol,
            self.tls,
            self._account(),
            self.id,
        )

    def _account(self) -> Address | None:
        # A login before TLS no longer counts; the session knows.
        user = self._logins.user if self.session.user else None
        return user.address if user else None

    def _unnamed_client(self) -> Client:
        """The client before MAIL."""
        return Client(self.client_ip, self.client, self.proxy_ip, tls=self.tls, session=self.id)

    def _with_log(self, offered: Offered, verdict: Any) -> object:
        """Log a rejection. Returns the verdict, or a Deferred of it."""
        if isinstance(verdict, _ACCEPTED):
            return verdict
        return then(verdict, self._log_verdict, offered)

    def _log_verdict(self, verdict: object, offered: Offered) -> object:
        if isinstance(verdict, _REFUSALS):
            reason, key = ("moved", "routing") if isinstance(verdict, Moved) else (verdict.text, verdict.key)
            self.log_rejection(reason, key, self._description(offered), self.session.user)
        return verdict

    def _description(self, offered: Offered) -> str:
        """The rejected request, for the log."""
        match offered:
            case SenderOffered(path):
                return format_path(path)
            case RecipientOffered(recipient):
                transaction = self._receiver.transaction
                assert transaction is not None
                return f"{format_path(transaction.reverse_path)} to {format_path(recipient)}"
            case AddressAsked(name) | ListAsked(name):
                return name
            case QueueStartAsked(domain):
                return domain
            case FetchAsked(domains):
                return f"ATRN {','.join(domains)}".rstrip()

    # ------------------------------------------------------------ XCLIENT and XFORWARD

    async def _speak_for(self, attributes: Attributes) -> NamedClient | Defer | Refuse:
        """The client is another one."""
        login, user = attributes.get("LOGIN", ""), None
        if login:
            try:
                user = await self.factory.authenticator.log_in(Admit(login), "")
            except UnauthorizedLogin:
                return Refuse(NOT_AUTHORIZED, "no such account here", "smtp.xclient_networks")
        if refusal := self.serve(attributes.get("ADDR", self.client_ip)):
            return refusal
        self.options = self.factory.options(self.client_ip)
        self._logins.finish()
        self._logins = self._no_logins()
        self._logins.user = user
        account = str(user.address) if user is not None else ""
        report(
            ClientNamedByProxy(
                client=self.client_ip,
                session=self.id,
                proxy=self.proxy_ip,
                name=attributes.get("NAME", ""),
                helo=attributes.get("HELO", ""),
                account=account,
            )
        )
        return NamedClient(self.options, account)

    def _log_origin(self, verdict: CheckVerdict, origin: Attributes) -> CheckVerdict:
        """Log the client that a trusted filter has got the message from."""
        transaction = self._receiver.transaction
        if isinstance(verdict, Accept) and transaction is not None:
            report(
                OriginNamedByFilter(
                    id=transaction.id,
                    client=self.client_ip,
                    session=self.id,
                    origin=origin.get("ADDR", ""),
                    name=origin.get("NAME", ""),
                    helo=origin.get("HELO", ""),
                    ident=origin.get("IDENT", ""),
                )
            )
        return verdict

    # ------------------------------------------------------------ ATRN

    def _reverse(self, domains: Sequence[str]) -> None:
        """End this session, and send mail by its connection."""
        self._resume_reading()
        self.flush()
        self._closing = True
        self.wire.unregisterProducer()
        sending = self._sending = reversed_connection(
            self.factory.reactor, self.client_ip, self.options.hostname
        )
        transport: Any = self.transport
        sending.transport = transport
        sending.connectionMade()
        if self.tls:
            sending.session.tls_started()
        if rest := self.session.take_rest():
            sending.dataReceived(rest)
        report(
            MailFetchStarted(
                user=self.session.user, domains=", ".join(domains), client=self.client_ip, session=self.id
            )
        )
        Deferred.fromCoroutine(self._send_waiting(domains, sending)).addErrback(self._event_failed)

    async def _send_waiting(self, domains: Sequence[str], sending: SendingConnection) -> None:
        try:
            await sending.ready
        except HostUnusable as error:
            report(MailFetchFailed(client=self.client_ip, session=self.id, reason=str(error)))
            return
        try:
            await self._reception.fetch(domains, sending, lambda: not sending.idle or self._stopping)
        finally:
            if sending.idle:
                sending.quit()
            else:
                sending.give_up("the mail cannot be sent")

    def received_after_end(self, data: bytes) -> None:
        if self._sending is not None:
            self._sending.dataReceived(data)

    def readConnectionLost(self) -> None:
        if self._sending is not None:
            self._sending.give_up("the connection is closed")
        else:
            super().readConnectionLost()

    def _no_progress(self) -> None:
        if self._sending is None:  # it has its own time limits
            super()._no_progress()

    def stop_now(self) -> None:
        if self._sending is not None:
            self._sending.give_up("the server is stopping")
        else:
            super().stop_now()

    # ------------------------------------------------------------ the connection

    def server_stops(self) -> None:
        self.session.disconnect(
            reply(421, "4.3.2", f"{self.options.hostname} is shutting down; please try again later")
        )

    def timed_out(self) -> None:
        self.session.disconnect(
            reply(421, "4.4.2", f"{self.options.hostname} timeout; closing the connection")
        )

    def rejection(self, refusal: Defer) -> bytes:
        return reply(421, "4.7.0", refusal.text).octets

    def early_talker(self) -> None:
        refuse = self.options.early_talkers == "refuse"
        reason, rule = "command sent before the greeting", "smtp.early_talkers"
        if refuse:
            self.log_rejection(reason, rule)
            self.session.disconnect(_TOO_EARLY)
        else:
            report(EarlyTalkerNoticed(client=self.client_ip, session=self.id, reason=reason, rule=rule))

    def release(self) -> None:
        self._logins.finish()
        self._receiver.abandon()
        self._reception.session_ended(self.id)
        if self._sending is not None:
            self._sending.connectionLost()


class SMTPFactory(ConnectionFactory):
    """Makes SMTP connections for one listener."""

    def __init__(
        self,
        context: ListenerContext,
        options: Callable[[str], SMTPOptions],
        reception: Callable[[], Reception],
        authenticator: IAuthenticator,
        reactor: IReactor,
    ) -> None:
        """``options`` returns the options for a client's IP address, ``reception`` the current reception."""
        super().__init__(context, reactor)
        self.options = options
        self.reception = reception
        self.authenticator = authenticator

    def connection(self, client_ip: str) -> SMTPConnection:
        """See the base class."""
        return SMTPConnection(self, client_ip)
