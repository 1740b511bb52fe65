"""POP3 connections: the accounts and a maildrop answer the events of the session."""

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.errors import MaildropInUse, MessageVanished, StorageError, StorageRefused
from mailserver.events.base import report
from mailserver.events.connections import MaildropOpened, MaildropUnavailable, MessageUnreadable
from mailserver.interfaces import IAuthenticator, IMaildrop, IMessageReader, IReactor, IStoredMessage
from mailserver.mail.address import Address
from mailserver.mail.snapshot import Snapshot
from mailserver.mail.verdict import Defer
from mailserver.net.connection import Connection
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.factory import ConnectionFactory
from mailserver.net.listener_context import ListenerContext
from mailserver.net.login_attempts import LoginAttempts
from mailserver.net.results import fired
from mailserver.pop3.events import (
    MaildropWanted,
    MessageWanted,
    OpenFailure,
    POP3Event,
    ReadFailure,
    UpdateWanted,
)
from mailserver.pop3.options import POP3Options
from mailserver.pop3.session import POP3Session
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, OutputFull, TLSWanted
from mailserver.threads.pool import run_in_thread


class POP3Connection(Connection):
    """One POP3 client."""

    section = "pop3"
    factory: "POP3Factory"
    session: POP3Session

    def __init__(self, factory: "POP3Factory", client_ip: str) -> None:
        super().__init__(factory, client_ip)
        self.options: POP3Options = factory.options(client_ip)
        self.session = POP3Session(self.options)
        self._logins = LoginAttempts(
            self.section, self.id, client_ip, self.client, factory.authenticator, factory.context.limits
        )
        self._maildrop: IMaildrop | None = None

    def handle(self, event: POP3Event) -> object:
        match event:
            case MessageWanted(index):
                return self._read(index)
            case LoginAsked(mechanism, question):
                return self.logging_in(self._logins.answer(mechanism, question, self.wait))
            case LoginRefused(mechanism, name, reason):
                return self.logging_in(self._logins.rejected(mechanism, name, reason, self.wait))
            case MaildropWanted():
                return Deferred.fromCoroutine(self._open_maildrop())
            case UpdateWanted(marked):
                return Deferred.fromCoroutine(self._leave_maildrop(marked))
            case TLSWanted(discarded):
                return Deferred.fromCoroutine(self.begin_tls(discarded))
            case CommandRefused(reason, rule, ended):
                return self.command_refused(reason, rule, ended)
            case OutputFull():
                self.flush()
                return None

    # ------------------------------------------------------------ logins

    async def _open_maildrop(self) -> Snapshot | OpenFailure:
        user = self._logins.user
        assert user is not None
        name = str(user.address)
        if not self.factory.may_log_in(user.address, self.options.login_delay):
            self.log_rejection("the time since the last login is too short", "pop3.login_delay", name)
            return OpenFailure.TOO_SOON
        try:
            maildrop = await user.open_maildrop()
        except MaildropInUse:
            self.log_rejection("the maildrop is locked by another session", "maildrop", name)
            return OpenFailure.IN_USE
        except StorageError as error:
            report(
                MaildropUnavailable(
                    user=name, client=self.client_ip, session=self.id, error=error, rule="storage"
                )
            )
            refused = isinstance(error, StorageRefused)
            return OpenFailure.PERMANENT if refused else OpenFailure.TEMPORARY
        if self.options.login_delay:
            self.factory.logged_in(user.address)
        if self.session.closed:
            maildrop.release()
            return OpenFailure.TEMPORARY  # the client has disconnected
        self._maildrop = maildrop
        self.accounts_changed()  # the account may have been removed during the login
        count = len(maildrop.messages)
        mechanism = self._logins.mechanism
        report(
            MaildropOpened(
                user=name, client=self.client_ip, session=self.id, mechanism=mechanism, count=count
            )
        )
        return maildrop.messages

    def accounts_changed(self) -> None:
        """See the base class."""
        user = self._logins.user
        if user is not None and not self.factory.authenticator.admits(user):
            self.session.revoke()

    # ------------------------------------------------------------ messages

    def _read(self, index: int) -> object:
        assert self._maildrop is not None
        reading = self._maildrop.read(index)
        if fired(reading):
            return self._content(cast(bytes | IStoredMessage, reading.result))
        return reading.addCallbacks(self._content, self._unreadable)

    def _content(self, content: bytes | IStoredMessage) -> bytes | Deferred[bytes | ReadFailure]:
        if isinstance(content, bytes):
            return content
        return Deferred.fromCoroutine(self._stream(content.open()))

    def _unreadable(self, failure: Failure) -> ReadFailure:
        failure.trap(MessageVanished, StorageError)
        self._report_unreadable(failure.value)
        return _read_failure(failure.value)

    async def _stream(self, reader: IMessageReader) -> bytes | ReadFailure:
        try:
            while self.session.wants_text:
                data = reader.read_nowait()
                if data is None:
                    data = await run_in_thread(self.factory.reactor, reader.read)
                if not data:
                    break
                self.session.send_text(data)
                await self.drained()
        except (MessageVanished, StorageError) as error:
            self._report_unreadable(error)
            return _read_failure(error)
        finally:
            reader.close()
        return b""

    def _report_unreadable(self, error: BaseException | None) -> None:
        report(MessageUnreadable(client=self.client_ip, session=self.id, error=error))

    async def _leave_maildrop(self, marked: tuple[int, ...]) -> frozenset[int]:
        maildrop, self._maildrop = self._maildrop, None
        assert maildrop is not None
        try:
            return await maildrop.remove(marked) if marked else frozenset()
        finally:
            # A client that logs in again at once may get another server.
            if (released := maildrop.release()) is not None:
                await released

    def server_stops(self) -> None:
        self.session.disconnect()

    def rejection(self, refusal: Defer) -> bytes:
        return self.session.too_busy(refusal.text)

    def timed_out(self) -> None:
        # RFC 1939 section 3: no reply, no UPDATE state.
        self.session.disconnect()

    def release(self) -> None:
        self._logins.finish()
        self.session.disconnect()
        if self._maildrop is not None:
            self._maildrop.release()
            self._maildrop = None


def _read_failure(error: BaseException | None) -> ReadFailure:
    if isinstance(error, MessageVanished):
        return ReadFailure.REMOVED
    return ReadFailure.PERMANENT if isinstance(error, StorageRefused) else ReadFailure.TEMPORARY


class POP3Factory(ConnectionFactory):
    """Makes POP3 connections for one listener."""

    def __init__(
        self,
        context: ListenerContext,
        options: Callable[[str], POP3Options],
        authenticator: IAuthenticator,
        reactor: IReactor,
        logins: "ExpiringTable[Address, float]",
    ) -> None:
        """``options`` returns the options for a client's IP address. ``logins`` has the time of the last
        login
        to each maildrop, on all listeners."""
        super().__init__(context, reactor)
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
        """A maildrop has been opened: begin the delay of the next login."""
        self._logins.put(account, self.reactor.seconds())
