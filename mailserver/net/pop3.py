"""POP3 on a transport: the session's events, answered by the portal and a maildrop."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailserver.errors import MaildropInUse, MessageVanished, StorageError
from mailserver.interfaces import IAuthenticator, IMaildrop, IMessageReader, IReactor, IStoredMessage
from mailserver.mail.address import Address
from mailserver.mail.words import counted
from mailserver.net.clients import Refusal
from mailserver.net.connection import Connection
from mailserver.net.entrance import Entrance
from mailserver.net.factory import ConnectionFactory
from mailserver.net.recent import Recent
from mailserver.net.visit import Visit
from mailserver.pop3.events import (
    CommandRefused,
    Event,
    Leaving,
    LoginAsked,
    LoginRefused,
    MaildropWanted,
    MessageWanted,
    OutputFull,
    TLSWanted,
    Unopened,
)
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import err
from mailserver.pop3.session import Session
from mailserver.pop3.verbs import State
from mailserver.sasl.steps import Denied, Question, Reason


class POP3Connection(Connection):
    """One POP3 client."""

    log = Logger()
    section = "pop3"
    factory: "POP3Factory"
    session: Session

    def __init__(self, factory: "POP3Factory", client_ip: str) -> None:
        super().__init__(factory, client_ip)
        self.options: POP3Options = factory.options(client_ip)
        self.session = Session(self.options)
        self._visit = Visit(client_ip, self.client, factory.authenticator, factory.entrance.limits, self.wait)
        self._maildrop: IMaildrop | None = None
        self._event: Event | None = None

    def handle(self, event: Event) -> Deferred[Any] | None:
        self._event = event
        match event:
            case MessageWanted(index):
                return self._send(index)
            case LoginAsked(mechanism, question):
                return self.logging_in(self._log_in(mechanism, question))
            case LoginRefused(mechanism, name, reason):
                return self.logging_in(self._login_refused(mechanism, name, reason))
            case MaildropWanted():
                return Deferred.fromCoroutine(self._open_maildrop())
            case Leaving(marked):
                return Deferred.fromCoroutine(self._leave_maildrop(marked))
            case TLSWanted(discarded):
                return Deferred.fromCoroutine(self.begin_tls(discarded))
            case CommandRefused(reason, rule, ended):
                return self.refused(reason, rule, ended)
            case OutputFull():
                self.flush()
                return None

    # ------------------------------------------------------------ logins

    async def _log_in(self, mechanism: str, question: Question) -> None:
        self.session.login_answered(await self._visit.answer(mechanism, question))

    async def _login_refused(self, mechanism: str, name: str, reason: Reason) -> None:
        await self._visit.refused(mechanism, name, reason)
        # What came to nothing is a wrong command, and as slow.
        if reason not in (Reason.CREDENTIALS, Reason.TEMPORARY) and (slow := self.refused("", "", False)):
            await slow
        self.session.login_refused()
        if self.session.closed:
            self.tell_refused("too many failed logins", "limits.auth_failures")

    async def _open_maildrop(self) -> None:
        user = self._visit.user
        assert user is not None
        if not self.factory.may_log_in(user.address, self.options.login_delay):
            self._unopened(Unopened.TOO_SOON, "the last login was not long enough ago", "pop3.login_delay")
            return
        try:
            maildrop = await user.open_maildrop()
        except MaildropInUse:
            self._unopened(Unopened.IN_USE, "another session has the maildrop", "maildrop")
        except StorageError as error:
            self.log.error(
                "maildrop of {user} cannot be opened: {error}",
                user=user.address,
                client=self.client_ip,
                error=error,
                rule="storage",
            )
            self.session.not_opened(Unopened.TEMPORARY)
        else:
            if self.options.login_delay:
                self.factory.logged_in(user.address)
            if self.session.closed:
                maildrop.release()
                return
            self._maildrop = maildrop
            self.log.info(
                "{user}: logged in from {client}, {messages}",
                user=user.address,
                client=self.client_ip,
                messages=counted(len(maildrop.messages), "message"),
                count=len(maildrop.messages),
            )
            self.session.logged_in(maildrop.messages)

    def _unopened(self, why: Unopened, reason: str, rule: str) -> None:
        user = self._visit.user
        assert user is not None
        self.tell_refused(reason, rule, str(user.address))
        self.session.not_opened(why)

    # ------------------------------------------------------------ messages

    def _send(self, index: int) -> Deferred[Any]:
        assert self._maildrop is not None
        return self._maildrop.read(index).addCallbacks(self._send_content, self._not_readable)

    def _send_content(self, content: bytes | IStoredMessage) -> Deferred[None] | None:
        if isinstance(content, bytes):
            self.session.send_text(content)
            self.session.end_text()
            return None
        return Deferred.fromCoroutine(self._stream(content.open()))

    def _not_readable(self, failure: Any) -> None:
        failure.trap(MessageVanished, StorageError)
        self.log.error("message cannot be read: {error}", error=failure.value)
        self.session.text_failed(gone=failure.check(MessageVanished) is not None)

    async def _stream(self, reader: IMessageReader) -> None:
        reactor = self.factory.reactor
        try:
            while self.session.wants_text:
                data = reader.read_nowait()
                if data is None:
                    data = await deferToThreadPool(reactor, reactor.getThreadPool(), reader.read)
                if not data:
                    break
                self.session.send_text(data)
                await self.drained()
        except StorageError as error:
            self.log.error("message cannot be read on: {error}", error=error)
            self.session.text_failed(gone=False)
        else:
            self.session.end_text()
        finally:
            reader.close()

    async def _leave_maildrop(self, marked: tuple[int, ...]) -> None:
        maildrop, self._maildrop = self._maildrop, None
        assert maildrop is not None
        try:
            failed = await maildrop.remove(marked) if marked else frozenset[int]()
        finally:
            maildrop.release()
        self.session.left(failed)

    @property
    def busy(self) -> bool:
        return self.session.state is not State.AUTHORIZATION

    def failed(self) -> None:
        match self._event:
            case LoginAsked():
                self.session.login_answered(Denied(Reason.TEMPORARY))
            case LoginRefused():
                self.session.login_refused()
            case MaildropWanted():
                self.session.not_opened(Unopened.TEMPORARY)
            case MessageWanted():
                self.session.text_failed(gone=False)
            case Leaving(marked):
                self.session.left(frozenset(marked))

    def dismiss(self) -> None:
        self.session.shut_down()

    def turned_away(self, refusal: Refusal) -> bytes:
        return err(f"[SYS/TEMP] {refusal.text}")

    def timed_out(self) -> None:
        # RFC 1939 section 3: no reply, no UPDATE state.
        self.session.shut_down()

    def gone(self) -> None:
        self._visit.left()
        self.session.shut_down()
        if self._maildrop is not None:
            self._maildrop.release()
            self._maildrop = None


class POP3Factory(ConnectionFactory):
    """Makes POP3 connections for one listener."""

    def __init__(
        self,
        entrance: Entrance,
        options: Callable[[str], POP3Options],
        authenticator: IAuthenticator,
        reactor: IReactor,
        logins: "Recent[Address, float]",
    ) -> None:
        """``options`` gives those for a client's IP address; ``logins`` is when each maildrop was last
        logged in to, on all ports."""
        super().__init__(entrance, reactor)
        self.options = options
        self.authenticator = authenticator
        self._logins = logins

    def connection(self, client_ip: str) -> POP3Connection:
        """See the base class."""
        return POP3Connection(self, client_ip)

    def may_log_in(self, account: Address, delay: float) -> bool:
        """Whether the last login to a maildrop was at least ``delay`` seconds ago (RFC 2449 section 6.5)."""
        last = self._logins.get(account) if delay else None
        return last is None or self.reactor.seconds() - last >= delay

    def logged_in(self, account: Address) -> None:
        """A maildrop has been opened: the next login has to wait."""
        self._logins.put(account, self.reactor.seconds())
