"""A connection of any protocol: its beginning and end, TLS, limits.

``session_loop`` runs its session.
"""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Protocol, TypeVar, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.events.base import report
from mailserver.events.connections import TLSFailed
from mailserver.interfaces import IReactor
from mailserver.mail.verdict import Defer
from mailserver.net.deadline import Deadline
from mailserver.net.listener_context import ListenerContext, TLSPeer
from mailserver.net.rejection_log import RejectionLog
from mailserver.net.session_loop import SessionLoop
from mailserver.net.wire import IStreamTransport, TransportWriter
from mailserver.pop3.options import POP3Options
from mailserver.sasl.mechanisms import Channel
from mailserver.session.events import TLSWanted
from mailserver.smtp.options import SMTPOptions

# Seconds that a client has to end its TLS after the last reply; one second when the server stops.
CLOSING_TIMEOUT = 30.0

_Answer = TypeVar("_Answer")


class ConnectionOwner(Protocol):
    """The part of a factory that its connections use."""

    context: ListenerContext
    reactor: IReactor
    stopping: bool
    connections: "set[Connection]"

    def closed(self, tls: str) -> None:
        """A connection has been removed from ``connections``. ``tls`` describes its TLS, "" without."""


@implementer(IHandshakeListener)
class Connection(SessionLoop):
    """One client. A subclass handles the events of its protocol."""

    section: ClassVar[str]
    factory: ConnectionOwner
    options: SMTPOptions | POP3Options
    greeting_delay = 0.0  # seconds
    proxy_ip = ""  # of the proxy that named the client, "" without one

    def __init__(self, factory: ConnectionOwner, client_ip: str) -> None:
        context = factory.context
        super().__init__(client_ip, context.limits, context.run_queue, factory.reactor.seconds)
        self.factory = factory
        self._stopping = factory.stopping
        self.tls = ""
        # None until the client is admitted.
        self._deadline: Deadline | None = None
        self._waiting: Deferred[None] | None = None
        self._handshake: Deferred[None] | None = None
        # Any: each step of a login has its own type of result. It is only cancelled here.
        self._login: Deferred[Any] | None = None
        self._rejections: RejectionLog | None = None
        self._wrong_commands = 0

    # ------------------------------------------------------------ for subclasses

    def server_stops(self) -> None:
        """End the session, since the server stops."""
        raise NotImplementedError

    def timed_out(self) -> None:
        """End the session, since the client has made no progress within the time limit."""
        raise NotImplementedError

    def release(self) -> None:
        """The connection is lost: release the resources of the session."""
        raise NotImplementedError

    def rejection(self, refusal: Defer) -> bytes:
        """The octets to send in place of the greeting or of the next reply."""
        raise NotImplementedError

    def accounts_changed(self) -> None:
        """Other accounts are in force."""

    def early_talker(self) -> None:
        """The client has sent commands before the greeting, which comes next."""

    # ------------------------------------------------------------ transport

    def connectionMade(self) -> None:
        factory, context = self.factory, self.factory.context
        self.wire = cast(IStreamTransport, self.transport)
        self._writer = TransportWriter(self.wire)
        if refusal := context.limits.connections.admit(self.client):
            self._reject(refusal)
            return
        factory.connections.add(self)
        if self.client_ip:
            self.wire.setTcpNoDelay(True)
        self.wire.registerProducer(self, True)
        self._deadline = Deadline(
            factory.reactor, self.options.command_timeout, lambda: self.last_progress, self._no_progress
        )
        if context.implicit or (self.client and self.greeting_delay):
            self._pending = Deferred.fromCoroutine(self._arrive())
            self._pending.addBoth(self._handled)
        else:
            self.session.greet()
            self._pump()

    async def _arrive(self) -> None:
        if self.factory.context.implicit and (channel := await self.begin_tls()):
            self.session.secured(channel)
        if self.client and self.greeting_delay:
            await self.wait(self.greeting_delay)
        if self._reading_paused:
            self.early_talker()
        if not self.session.closed:
            self.session.greet()

    def _reject(self, refusal: Defer) -> None:
        self._closing = True
        self.log_rejection(refusal.text, refusal.key)
        if self._deadline is not None or not self.factory.context.implicit:
            self.wire.write(self.rejection(refusal))
        self.wire.loseConnection()

    async def begin_tls(self, discarded: int = 0) -> Channel | None:
        """Begin TLS. Fires with None if the client has disconnected.

        ``discarded`` is the number of octets that came after the command and were dropped.
        """
        if discarded:
            self.log_rejection(f"{discarded} octets sent in the clear after STARTTLS; discarded", "tls")
        await self.drained()
        if self._closing:
            return None
        self._resume_reading()
        self._handshake = Deferred()
        self._start_tls(self.factory.context.tls())
        await self._handshake
        peer = TLSPeer(self.wire.getHandle())
        self.tls = peer.description
        channel = peer.channel(self.options.hostname)
        self._handshake = None
        return channel

    def _start_tls(self, context: object) -> None:
        """Begin the handshake as the server."""
        self.wire.startTLS(context)

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        if self._handshake is not None and not self._handshake.called:
            self._handshake.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline is None:
            # The connection was rejected, and is not counted.
            return
        self._deadline.cancel()
        if not self.tls and reason.check(SSL.Error):
            report(TLSFailed(client=self.client_ip, session=self.id, reason=reason.value, rule="tls"))
        self._closing = True
        for step in (self._waiting, self._login, self._handshake):
            if step is not None:
                step.cancel()
        self.factory.connections.discard(self)
        self.factory.context.limits.connections.release(self.client)
        self.release()
        if self._rejections is not None:
            self._rejections.end()
        if self._drained is not None:
            self._drained.callback(None)
        self.factory.closed(self.tls)

    # ------------------------------------------------------------ limits

    def wait(self, seconds: float) -> "Deferred[None]":
        """Wait for some seconds. Cancelled when the connection is lost."""
        self._waiting = deferLater(self.factory.reactor, seconds)
        return self._waiting

    # Deferred[Any]: the type of a coroutine for ``Deferred.fromCoroutine``.
    def logging_in(self, steps: Coroutine[Deferred[Any], Any, _Answer]) -> "Deferred[_Answer]":
        """Run a step of a login. Cancelled when the connection is lost."""
        login = Deferred.fromCoroutine(steps)
        self._login = login
        return login

    def log_rejection(self, reason: str, rule: str, what: str = "", account: str = "") -> None:
        """Log the rejection of ``what``, or of the client itself. See ``rejection_log``."""
        if self._rejections is None:
            self._rejections = RejectionLog(self.id, self.client_ip, self._seconds)
        self._rejections.add(reason, rule, what, account)

    def command_refused(self, reason: str, rule: str, ended: bool) -> "Deferred[None] | None":
        """Handle a rejected command. Returns a Deferred that delays the reply, None for no delay.

        ``rule`` is the deciding key, "" if the command was wrong. ``ended``: the session is over.
        """
        if rule or ended:
            self.log_rejection(reason, rule or "session")
        if ended:
            return None
        self._wrong_commands += 1
        delay = self.factory.context.limits.error_delay(self.client, self._wrong_commands)
        self._reply_delayed = bool(delay)
        return self.wait(delay) if delay else None

    def serve(self, client_ip: str) -> Defer | None:
        """Serve the client at this address from now on, in place of the proxy that speaks for it.

        Returns the reason if the limits reject it.
        """
        limits = self.factory.context.limits
        client = limits.client(client_ip)
        if client != self.client:
            if refusal := limits.connections.admit(client):
                return refusal
            limits.connections.release(self.client)
        if self._rejections is not None:
            self._rejections.end()
            self._rejections = None
        self.proxy_ip = self.proxy_ip or self.client_ip
        self.client_ip, self.client, self._wrong_commands = client_ip, client, 0
        return None

    def reject(self, refusal: Defer) -> None:
        self.flush()
        self.wire.unregisterProducer()
        self._reject(refusal)

    # ------------------------------------------------------------ endings

    def recover(self) -> None:
        if self._handshake is not None or isinstance(self.session.awaited, TLSWanted):
            self.wire.abortConnection()
        else:
            super().recover()

    def close_if_done(self, more: bool) -> None:
        idle = self._pending is None
        if self.session.closed or (self._input_over and idle and not more and not self._blocked):
            self._close()
        elif self._stopping and idle and not self.session.busy:
            self.end(self.server_stops)

    def _no_progress(self) -> None:
        stuck = self._blocked or self._handshake is not None
        if not self._closing and (stuck or self._pending is None):
            self.log_rejection("no progress within the time limit", f"{self.section}.command_timeout")
        if self._closing or stuck:
            # The peer does not read its replies, or does not complete the TLS handshake.
            self.wire.abortConnection()
        elif self._pending is None:
            self.end(self.timed_out)

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            # The deadline aborts a peer that never reads its last reply, or never ends its TLS.
            self.last_progress = self._seconds()
            if self.tls and self._deadline is not None:
                self._deadline.shorten(1.0 if self.factory.stopping else CLOSING_TIMEOUT)
            self.wire.unregisterProducer()
            self._writer.close()

    def end(self, say: Callable[[], None]) -> None:
        """Let ``say`` end the session, send its last reply, and close the connection."""
        say()
        self.flush()
        self._close()

    def stop(self) -> None:
        """Close the connection as soon as its session is not busy."""
        self._stopping = True
        if self._handshake is not None:
            self.wire.abortConnection()
        self._pump()

    def stop_now(self) -> None:
        """Close the connection now."""
        self.end(self.server_stops)
