"""POP3 on a transport: the session's events, answered by the portal and a maildrop."""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailserver.errors import MaildropInUse, MessageVanished, StorageError
from mailserver.interfaces import IContent, IMaildrop, IMailUser, IReactor
from mailserver.net.connection import Connection, ConnectionFactory, client_ip
from mailserver.pop3.events import Event, Leaving, LoginFailure, LoginTried, MessageWanted, OutputFull
from mailserver.pop3.session import Session
from mailserver.pop3.settings import Settings
from mailserver.pop3.verbs import State


class POP3Connection(Connection):
    """One POP3 client."""

    log = Logger()
    factory: "POP3Factory"
    session: Session

    def __init__(self, factory: "POP3Factory", client_ip: str) -> None:
        super().__init__(factory, client_ip)
        self.session = Session(factory.settings_for(client_ip))
        self._maildrop: IMaildrop | None = None
        self._event: Event | None = None

    def handle(self, event: Event) -> Deferred[Any] | None:
        self._event = event
        match event:
            case MessageWanted(index):
                return self._send(index)
            case LoginTried(user, password):
                return Deferred.fromCoroutine(self._log_in(user, password))
            case Leaving(marked):
                return Deferred.fromCoroutine(self._leave_maildrop(marked))
            case OutputFull():
                self.flush()
                return None

    async def _log_in(self, user: str, password: str) -> None:
        credentials = UsernamePassword(user.encode(), password.encode())
        try:
            login = await self.factory.portal.login(credentials, None, IMailUser)
            avatar = IMailUser(login[1])
            maildrop = await avatar.open_maildrop()
        except UnauthorizedLogin:
            self.log.warn("login refused: user {user!r} from {client}", user=user, client=self.client_ip)
            self.session.login_failed(LoginFailure.BAD_CREDENTIALS)
        except MaildropInUse:
            self.session.login_failed(LoginFailure.IN_USE)
        except StorageError as error:
            self.log.error("maildrop of {user!r} cannot be opened: {error}", user=user, error=error)
            self.session.login_failed(LoginFailure.TEMPORARY)
        else:
            if self.session.closed:
                maildrop.release()
                return
            self._maildrop = maildrop
            self.log.info(
                "{user}: logged in from {client}, {count} messages",
                user=avatar.address,
                client=self.client_ip,
                count=len(maildrop.messages),
            )
            self.session.logged_in(maildrop.messages)

    def _send(self, index: int) -> Deferred[Any]:
        assert self._maildrop is not None
        return self._maildrop.read(index).addCallbacks(self._send_content, self._not_readable)

    def _send_content(self, content: bytes | IContent) -> Deferred[None] | None:
        if isinstance(content, bytes):
            self.session.send_text(content)
            self.session.end_text()
            return None
        return Deferred.fromCoroutine(self._stream(content.chunks()))

    def _not_readable(self, failure: Any) -> None:
        failure.trap(MessageVanished, StorageError)
        self.log.error("message cannot be read: {error}", error=failure.value)
        self.session.text_failed(gone=failure.check(MessageVanished) is not None)

    async def _stream(self, pieces: Iterator[bytes]) -> None:
        reactor = self.factory.reactor
        try:
            while self.session.wants_text:
                data = next(pieces, None)
                while data == b"":
                    data = await deferToThreadPool(reactor, reactor.getThreadPool(), next, pieces, None)
                if data is None:
                    break
                self.session.send_text(data)
                await self.drained()
        except StorageError as error:
            self.log.error("message cannot be read on: {error}", error=error)
            self.session.text_failed(gone=False)
        else:
            self.session.end_text()

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
            case LoginTried():
                self.session.login_failed(LoginFailure.TEMPORARY)
            case MessageWanted():
                self.session.text_failed(gone=False)
            case Leaving(marked):
                self.session.left(frozenset(marked))

    def dismiss(self) -> None:
        self.session.shut_down()

    def timed_out(self) -> None:
        # RFC 1939 section 3: no reply, no UPDATE state.
        self.session.shut_down()

    def gone(self) -> None:
        self.session.shut_down()
        if self._maildrop is not None:
            self._maildrop.release()
            self._maildrop = None


class POP3Factory(ConnectionFactory):
    """Makes POP3 connections for one listener."""

    def __init__(
        self,
        settings_for: Callable[[str], Settings],
        portal: Portal,
        reactor: IReactor,
        timeout: Callable[[], float],
    ) -> None:
        """``settings_for`` gives the settings for a client's IP address; ``timeout`` how many
        seconds a new client may take for a command."""
        super().__init__(reactor, timeout)
        self.settings_for = settings_for
        self.portal = portal

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return POP3Connection(self, client_ip(addr))
