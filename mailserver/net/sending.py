"""A connection to another server that runs a sending session: input, TLS, content, timeouts.

The session knows the protocol; this module moves its octets. Small contents are written at once, large ones
piece by piece while the other server reads. The time limits are those of the session, and two of this
module: one for all that comes before the first message, and one for each message. So a server that sends
single octets, or replies without an end, cannot hold a connection.
"""

from functools import partial
from typing import Any, Protocol, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol as TransportProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.errors import HostUnusable
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement
from mailserver.net.client_tls import FAILED, NOT_SUPPORTED, ClientTLS, Handshake
from mailserver.net.limit_timer import LimitTimer
from mailserver.net.tls import binding, description
from mailserver.net.wire import IStreamTransport, TransportWriter
from mailserver.smtp.sender.events import (
    CloseCause,
    ContentWanted,
    MailDone,
    RecipientResult,
    SenderEvent,
    SessionClosed,
    SessionReady,
    StartTLS,
)
from mailserver.smtp.sender.extensions import ServerExtensions
from mailserver.smtp.sender.session import SenderSession
from mailserver.smtp.sender.settings import OutgoingMail, SenderSettings

SETUP_TIMEOUT = 600.0  # seconds, from the connection to the end of EHLO, STARTTLS and AUTH
HANDSHAKE_TIMEOUT = 60.0  # seconds
MESSAGE_TIMEOUT = 1800.0  # seconds for a message, and in addition:
RECIPIENT_TIMEOUT = 10.0  # seconds for each recipient
SLOWEST = 1024  # octets of content that take a second

CLOSING_TIMEOUT = 10.0  # seconds for the end of TLS
_ABORTED = (CloseCause.LOST, CloseCause.ABANDONED)

Results = tuple[RecipientResult, ...]


class OutgoingContent(Protocol):
    """The content of a message, as a connection reads it."""

    whole: bytes | None
    """All of it, None if it is too large to be read at once."""

    def read(self) -> "Deferred[bytes]":
        """The next piece; an empty one is the end. Fails with a
        :class:`~mailserver.errors.MailserverError`; then the message must not be sent."""


@implementer(IHandshakeListener, IPushProducer)
class SendingConnection(TransportProtocol):
    """One connection. ``ready`` fires with the connection when it can send mail, or fails with
    :class:`~mailserver.errors.HostUnusable`.

    ``label`` is the host with its address, for people. ``tls`` is the version and the cipher, "" without TLS.
    ``tls_problem`` is the problem of TLS as a result type of RFC 8460 section 4.3, "" if there is none, None
    if TLS was not tried. ``ended`` says why the session has ended, None if it
    lives.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        host: RelayHost,
        address: IAddress | None,
        settings: SenderSettings,
        requirement: TLSRequirement,
        tls: ClientTLS | None = None,
    ) -> None:
        """``tls`` begins handshakes; it may be None if ``settings`` and ``host`` ask for none."""
        self.host = host
        self.label = host.label(getattr(address, "host", ""))
        self.ready: Deferred[SendingConnection] = Deferred(self._cancel)
        self.session = SenderSession(settings)
        self.tls = ""
        self.tls_problem: str | None = None
        self.ended: SessionClosed | None = None
        self.messages = 0
        self._replies = 0
        self._reactor = reactor
        self._requirement = requirement
        self._client_tls = tls
        self._handshake: Handshake | None = None
        self._handshake_failed = False
        self._done: Deferred[Results] | None = None
        self._results: Results | None = None
        self._content: OutgoingContent | None = None
        self._error: Failure | None = None
        self._drained: Deferred[None] | None = None
        self._blocked = self._lost = self._ended = self._cancelled = False
        self._last_progress = reactor.seconds()
        self._due = self._last_progress + SETUP_TIMEOUT
        self._timer = LimitTimer(reactor, self._limit, self._overdue)

    # ------------------------------------------------------------ for the owner

    @property
    def extensions(self) -> ServerExtensions:
        """The extensions that the server offers."""
        return self.session.extensions

    @property
    def idle(self) -> bool:
        """Whether :meth:`send` may be called."""
        return self._done is None and self.session.idle

    def send(self, mail: OutgoingMail, content: OutgoingContent) -> Deferred[Results]:
        """Send a message. Fires with the results in the order of the recipients.

        Fails with the error of the content; then no recipient has the message.
        """
        self.messages += 1
        self._content = content
        self._done = done = Deferred[Results]()
        self._last_progress = now = self._reactor.seconds()
        seconds = MESSAGE_TIMEOUT + RECIPIENT_TIMEOUT * len(mail.recipients) + mail.size / SLOWEST
        self._due = now + seconds
        self.session.send(mail)
        self._pump()
        return done

    def quit(self) -> None:
        """End the session; the connection must be idle."""
        if not self.session.closed:
            self.session.quit()
            self._pump()

    def give_up(self, text: str) -> None:
        """End the session at once, whatever it does."""
        if not self.session.closed:
            self.session.connection_lost(text)
            self._pump()

    def _cancel(self, ready: "Deferred[SendingConnection]") -> None:
        self._cancelled = True
        self.give_up("cancelled")

    # ------------------------------------------------------------ transport

    def connectionMade(self) -> None:
        self.wire = cast(IStreamTransport, self.transport)
        self._writer = TransportWriter(self.wire)
        if not self.host.path:
            self.wire.setTcpNoDelay(True)
        self.wire.registerProducer(self, True)
        if self.host.implicit_tls:
            self._start_tls()
        self._pump()

    def dataReceived(self, data: bytes) -> None:
        self.session.receive(data)
        self._pump()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        if self._handshake is not None:
            self._tls_failed(_handshake_error(reason))
        elif not self.session.closed:
            self.session.connection_lost(_lost(reason))
        self._pump()
        self._timer.stop()
        self._continue()

    def pauseProducing(self) -> None:
        """The other server does not read."""
        self._blocked = True

    def resumeProducing(self) -> None:
        """The other server has read what was written."""
        self._blocked = False
        self._writer.drained()
        self._last_progress = self._reactor.seconds()
        self._continue()

    def _continue(self) -> None:
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` does the rest."""

    # ------------------------------------------------------------ TLS

    def _start_tls(self) -> None:
        assert self._client_tls is not None
        self._flush()
        self._handshake = self._client_tls.handshake(self.host.name)
        self._last_progress = self._reactor.seconds()
        self.wire.startTLS(self._handshake)

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        handshake, self._handshake = self._handshake, None
        if handshake is None or self.session.closed:
            return
        check, level = self._requirement.check, self._requirement.level
        problem = handshake.problem()
        if check is not None:
            reason = check(handshake.chain())
            problem = FAILED if reason else ""
        else:
            reason = f"the certificate is not valid for {self.host.name}: {problem}" if problem else ""
        self.tls_problem = problem
        if problem and level is TLSLevel.VERIFIED:
            self._handshake_failed = True
            self.session.connection_lost(f"{reason} ({self._requirement.rule})")
        else:
            connection: SSL.Connection = self.wire.getHandle()
            self.tls = description(connection)
            self._last_progress = self._reactor.seconds()
            self.session.tls_started(partial(binding, connection))
        self._pump()

    def _tls_failed(self, reason: str) -> None:
        self._handshake = None
        self._handshake_failed = True
        self.tls_problem = FAILED
        if not self.session.closed:
            self.session.connection_lost(f"the TLS handshake has failed: {reason}")

    # ------------------------------------------------------------ the session

    def _pump(self) -> None:
        """Handle the events of the session, send its output, then report what is over."""
        session = self.session
        made_ready = False
        while (event := session.next_event()) is not None:
            made_ready |= isinstance(event, SessionReady)
            self._handle(event)
        self._flush()
        if self._replies != session.replies:
            self._replies = session.replies
            self._last_progress = self._reactor.seconds()
        if session.closed:
            self._close()
        self._timer.update()
        if made_ready and not session.closed:
            if self.tls_problem is None and not self.tls and self._requirement.level is not TLSLevel.NONE:
                self.tls_problem = NOT_SUPPORTED
            self.ready.callback(self)
        elif self._results is not None and self._done is not None:
            self._mail_over(self._results)
        elif session.closed and not (self.ready.called or self._cancelled):
            self.ready.errback(self._unusable())

    def _handle(self, event: SenderEvent) -> None:
        match event:
            case StartTLS():
                self._start_tls()
            case ContentWanted():
                self._write_content()
            case MailDone(results):
                self._results = results
            case SessionClosed():
                self.ended = event

    def _mail_over(self, results: Results) -> None:
        done, self._done, self._results, self._content = self._done, None, None, None
        error, self._error = self._error, None
        assert done is not None
        if error is not None:
            done.errback(error)
        else:
            done.callback(results)

    def _unusable(self) -> HostUnusable:
        ended, session = self.ended, self.session
        assert ended is not None
        # Some servers close the connection in answer to STARTTLS, or send more than a reply.
        tried = self._requirement.level is not TLSLevel.NONE and session.extensions.start_tls
        broken = ended.cause in (CloseCause.LOST, CloseCause.PROTOCOL) and not session.encrypted
        failed = self._handshake_failed or (tried and broken)
        problem = self.tls_problem
        if ended.cause is CloseCause.NO_TLS:
            problem = NOT_SUPPORTED
        elif failed:
            problem = problem or FAILED
        reply = ended.reply
        return HostUnusable(
            f"{self.label} said: {reply}" if reply is not None else f"{self.label}: {ended.text}",
            self.label,
            "" if reply is None else str(reply),
            tls_failed=failed,
            tls_problem=problem,
        )

    def _flush(self) -> None:
        output = self.session.take_output()
        if output and not self._lost:
            self._writer.write(output)

    def _close(self) -> None:
        """Close the connection of a session that has ended. Called again and again."""
        if self._ended:
            return
        self._ended = True
        self._timer.stop()
        self._last_progress = self._reactor.seconds()
        if not self._lost:
            self.wire.unregisterProducer()
            if self.ended is not None and self.ended.cause in _ABORTED:
                self.wire.abortConnection()
            else:
                self.wire.loseConnection()

    # ------------------------------------------------------------ content

    def _write_content(self) -> None:
        content = self._content
        assert content is not None
        if content.whole is not None:
            self.session.write(content.whole)
            self.session.end()
        else:
            Deferred.fromCoroutine(self._write_pieces(content)).addErrback(self._content_failed, content)

    async def _write_pieces(self, content: OutgoingContent) -> None:
        """Write a large content as fast as the other server reads. A message that is over stops this."""
        while piece := await content.read():
            if self._content is not content:
                return
            self.session.write(piece)
            self._flush()
            if self._blocked and not self._lost:
                self._drained = Deferred()
                await self._drained
            self._last_progress = self._reactor.seconds()
        if self._content is content:
            self.session.end()
            self._pump()

    def _content_failed(self, reason: Failure, content: OutgoingContent) -> None:
        if self._content is content:
            self._error = reason
            self.session.abandon()
            self._pump()

    # ------------------------------------------------------------ time limits

    def _limit(self) -> float | None:
        """The time of the next limit, None if nothing is expected of the other server."""
        if self._ended:
            return None if self._lost else self._last_progress + CLOSING_TIMEOUT
        if self._handshake is not None:
            return self._last_progress + HANDSHAKE_TIMEOUT
        timeout = self.session.timeout
        return None if timeout is None else min(self._last_progress + timeout, self._due)

    def _overdue(self) -> None:
        now = self._reactor.seconds()
        if self._ended:
            self.wire.abortConnection()  # the server does not end its TLS
        elif self._handshake is not None:
            self._tls_failed("no answer")
        elif now >= self._due:
            self.session.connection_lost("the session takes too long")
        else:
            self.session.connection_lost(
                f"no answer for {now - self._last_progress:.0f} seconds (waiting for {self.session.awaits})"
            )
        self._pump()


def _lost(reason: Failure) -> str:
    return (
        "the connection is closed" if reason.check(type(connectionDone.value)) else "the connection is lost"
    )


def _handshake_error(reason: Failure) -> str:
    if isinstance(reason.value, SSL.Error) and reason.value.args:
        errors: Any = reason.value.args[0]
        if isinstance(errors, list) and errors:
            return str(errors[0][-1])
    return _lost(reason)
