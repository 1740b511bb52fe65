"""What every session on a transport has in common, whatever its protocol.

A :class:`Connection` feeds a sans-IO session, handles its events one after another, and writes its
replies together. While an event's Deferred is pending the transport is paused as soon as more comes;
while the peer does not read, nothing more is processed: memory stays bounded either way.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, cast

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
)
from twisted.internet.protocol import Protocol as TransportProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.net.clients import Refusal
from mailserver.net.entrance import Peer
from mailserver.net.results import fired
from mailserver.net.session import ISession
from mailserver.net.terms import POP3Terms, SMTPTerms
from mailserver.net.wire import IWire, Writer

if TYPE_CHECKING:
    from mailserver.net.factory import ConnectionFactory


# Seconds that a client has to end its TLS when all is said; when the server stops, one.
FAREWELL = 30.0


@implementer(IPushProducer, IHalfCloseableProtocol, IHandshakeListener)
class Connection(TransportProtocol):
    """One client. Subclasses say what their session's events mean."""

    log: ClassVar[Logger]
    section: ClassVar[str]
    factory: "ConnectionFactory"
    session: ISession
    wire: IWire
    terms: SMTPTerms | POP3Terms
    greeting_delay = 0.0  # seconds

    def __init__(self, factory: "ConnectionFactory", client_ip: str) -> None:
        self.factory = factory
        self.client_ip = client_ip
        self.client = factory.entrance.limits.client(client_ip)
        self.tls = ""
        self._timer: IDelayedCall | None = None
        self._pending: Deferred[Any] | None = None
        self._drained: Deferred[None] | None = None
        self._waiting: Deferred[None] | None = None
        self._handshake: Deferred[None] | None = None
        self._login: Deferred[None] | None = None
        self._commands = self._wrong_commands = 0
        self._pumping = self._holding = self._blocked = self._quiet = False
        self._leaving = self._input_over = False

    # ------------------------------------------------------------ for subclasses

    def handle(self, event: Any) -> "Deferred[Any] | None":
        """Do what ``event`` asks for; a Deferred if that is not done at once."""
        raise NotImplementedError

    def failed(self) -> None:
        """Answer an event whose handling broke; the connection lives on."""
        raise NotImplementedError

    def dismiss(self) -> None:
        """Tell the session that the server stops."""
        raise NotImplementedError

    def timed_out(self) -> None:
        """Tell the session that the client has made no progress for too long."""
        raise NotImplementedError

    def gone(self) -> None:
        """The connection is lost: let go of what the session held."""
        raise NotImplementedError

    def turned_away(self, refusal: Refusal) -> bytes:
        """What a client reads instead of a greeting, or instead of the next reply."""
        raise NotImplementedError

    def spoke_early(self) -> None:
        """The client has not waited for the greeting, which comes next."""

    @property
    def busy(self) -> bool:
        """True while the session is in something that a stopping server lets it finish."""
        raise NotImplementedError

    # ------------------------------------------------------------ transport

    def connectionMade(self) -> None:
        factory, entrance = self.factory, self.factory.entrance
        self.wire = cast(IWire, self.transport)
        self._writer = Writer(self.wire)
        if refusal := entrance.limits.connections.admit(self.client):
            self._turn_away(refusal)
            return
        factory.connections.add(self)
        if self.client_ip:
            self.wire.setTcpNoDelay(True)
        self.wire.registerProducer(self, True)
        self._timeout = self.terms.timeout
        self._timer = factory.reactor.callLater(self._timeout, self._check_time)
        self._give_time()
        if entrance.implicit or (self.client and self.greeting_delay):
            self._pending = Deferred.fromCoroutine(self._arrive())
            self._pending.addBoth(self._handled)
        else:
            self.session.greet()
            self._pump()

    async def _arrive(self) -> None:
        if self.factory.entrance.implicit:
            await self.begin_tls()
        if self.client and self.greeting_delay:
            await self.wait(self.greeting_delay)
        if self._holding:
            self.spoke_early()
        if not self.session.closed:
            self.session.greet()

    def _turn_away(self, refusal: Refusal) -> None:
        self._leaving = True
        self.tell_refused(refusal.text, refusal.rule)
        if self._timer is not None or not self.factory.entrance.implicit:
            self.wire.write(self.turned_away(refusal))
        self.wire.loseConnection()

    async def begin_tls(self, discarded: int = 0) -> None:
        """Go on with TLS, and a session as new; ``discarded`` octets behind the command are gone."""
        if discarded:
            self.tell_refused(f"{discarded} octets in the clear behind STARTTLS, thrown away", "tls")
        await self.drained()
        if self._leaving:
            return
        self._read_on()
        self._handshake = Deferred()
        self.wire.startTLS(self.factory.entrance.tls())
        await self._handshake
        peer = Peer(self.wire.getHandle())
        self.tls = peer.description
        self.session.secured(peer.channel(self.terms.settings.hostname))
        self._handshake = None

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        if self._handshake is not None and not self._handshake.called:
            self._handshake.callback(None)

    def dataReceived(self, data: bytes) -> None:
        if self._leaving:
            return
        session = self.session
        session.receive(data)
        if self._pending is not None:
            self._hold()
            return
        before = session.progress
        self._pump()
        # Octets that complete nothing do not count: a client that sends them one by one is idle, too.
        if session.progress != before:
            self._give_time()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is None:
            # It was turned away, and is counted nowhere.
            return
        if self._timer.active():
            self._timer.cancel()
        if not self.tls and reason.check(SSL.Error):
            self.log.info(
                "no TLS with {client}: {reason}", client=self.client_ip, reason=reason.value, rule="tls"
            )
        self._leaving = True
        for step in (self._waiting, self._login, self._handshake):
            if step is not None:
                step.cancel()
        self.factory.connections.discard(self)
        self.factory.entrance.limits.connections.left(self.client)
        self.gone()
        if self._drained is not None:
            self._drained.callback(None)
        self.factory.left(self)

    def readConnectionLost(self) -> None:
        """The client has sent all it ever will: it gets its replies, and that is the end."""
        self._input_over = True
        self._pump()

    def writeConnectionLost(self) -> None:
        """Never called: nothing here closes one direction alone."""

    def pauseProducing(self) -> None:
        """The peer does not read: process nothing more."""
        self._blocked = True
        self._hold()

    def resumeProducing(self) -> None:
        """The peer has read what was written."""
        self._blocked = False
        self._give_time()
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)
        elif self._pending is None:
            self._read_on()
            self._pump()

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` does the rest."""

    async def drained(self) -> None:
        """Write what the session has queued; wait until the peer has room for more, or is gone."""
        self.flush()
        if self._blocked and not self._leaving:
            self._drained = Deferred()
            await self._drained

    # ------------------------------------------------------------ the loop

    def _pump(self) -> None:
        """Run the session until it wants more input, an answer, or the peer to read."""
        if self._pumping or self._pending is not None:
            return
        self._pumping = True
        try:
            while not self._blocked and not self._leaving:
                event = self.session.next_event()
                if self.client and self._commands != self.session.commands:
                    self._count_commands()
                if event is None or self._leaving or self._handle(event):
                    break
        finally:
            self._pumping = False
        if self._quiet:
            return
        self.flush()
        over = self._input_over and self._pending is None and not self._blocked
        if over or self.session.closed:
            self._leave()
        elif self.factory.stopping and self._pending is None and not self.busy:
            self.end(self.dismiss)

    def _hold(self) -> None:
        """Read no more for now."""
        self._holding = True
        self.wire.pauseProducing()

    def _read_on(self) -> None:
        if self._holding and not self._input_over:
            self._holding = False
            self.wire.resumeProducing()

    def _handle(self, event: object) -> bool:
        """Handle one event; True if its end must be waited for."""
        try:
            deferred = self.handle(event)
        except Exception:  # noqa: BLE001 - whatever breaks, the client gets a reply and the log a traceback
            self._broken(Failure())
            return False
        if deferred is None or fired(deferred):
            return False
        self._pending = deferred
        deferred.addBoth(self._handled)
        return self._pending is not None

    def _handled(self, result: object) -> None:
        self._pending = None
        try:
            if self._quiet:
                self._quiet = False
                self.flush()
            if isinstance(result, Failure):
                if self._leaving and result.check(CancelledError):
                    return
                self._broken(result)
            if self._pumping or self._leaving:
                return
            if not self._blocked:
                self._read_on()
            self._give_time()
            self._pump()
        except Exception:  # noqa: BLE001 - see below
            # Not even the reply to a failure could be made: better no connection than a silent one.
            self.log.failure("connection of {client} is cut", client=self.client_ip)
            self.wire.abortConnection()

    def _broken(self, failure: Failure) -> None:
        self.log.failure("unexpected failure while serving {client}", failure, client=self.client_ip)
        if self._handshake is not None:
            self.wire.abortConnection()
            return
        self.failed()

    def flush(self) -> None:
        """Write the replies that the session has queued."""
        output = self.session.take_output()
        if output and not self._leaving:
            self._writer.write(output)

    # ------------------------------------------------------------ limits

    def wait(self, seconds: float) -> "Deferred[None]":
        """Wait, but no longer than the client does: with the connection it is cancelled."""
        self._waiting = deferLater(self.factory.reactor, seconds)
        return self._waiting

    def logging_in(self, steps: Coroutine[Deferred[Any], Any, None]) -> "Deferred[None]":
        """A step of a login, which is cancelled with the connection, too."""
        self._login = Deferred.fromCoroutine(steps)
        return self._login

    def tell_refused(self, reason: str, rule: str) -> None:
        """One event of the log."""
        self.log.info("refused {client}: {reason}", client=self.client_ip, reason=reason, rule=rule)

    def refused(self, reason: str, rule: str, ended: bool) -> "Deferred[None] | None":
        """Called for each command that is refused: how long its reply is held back, None for not at all.

        Without a ``rule`` it was wrong in itself; ``ended``: the session is over.
        """
        if rule or ended:
            self.tell_refused(reason, rule or "session")
        if ended:
            return None
        self._wrong_commands += 1
        delay = self.factory.entrance.limits.error_delay(self.client, self._wrong_commands)
        self._quiet = bool(delay)
        return self.wait(delay) if delay else None

    def _count_commands(self) -> None:
        limits, commands = self.factory.entrance.limits, self.session.commands
        while self._commands < commands and not self._leaving:
            self._commands += 1
            if refusal := limits.command(self.client):
                self.flush()
                self.wire.unregisterProducer()
                self._turn_away(refusal)
        self._commands = commands

    # ------------------------------------------------------------ endings

    def _give_time(self) -> None:
        self._moved_on = self.factory.reactor.seconds()

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            # A peer that never reads its last reply, or never ends its TLS, is cut off in the end.
            self._give_time()
            if self.tls and self._timer is not None and self._timer.active():
                self._timeout = 1.0 if self.factory.stopping else min(self._timeout, FAREWELL)
                self._timer.reset(self._timeout)
            self.wire.unregisterProducer()
            self.wire.loseConnection()

    def _check_time(self) -> None:
        reactor = self.factory.reactor
        left = self._moved_on + self._timeout - reactor.seconds()
        late = left <= 0
        stuck = self._blocked or self._handshake is not None
        if late and not self._leaving and (stuck or self._pending is None):
            self.tell_refused("it takes too long", f"{self.section}.command_timeout")
        if late and (self._leaving or stuck):
            # The peer has not taken what it asked for in all this time, or does not come to TLS.
            self.wire.abortConnection()
            return
        self._timer = reactor.callLater(self._timeout if late else left, self._check_time)
        if late and self._pending is None:
            self.end(self.timed_out)

    def end(self, say: Callable[[], None]) -> None:
        """Let the session ``say`` its last words, then leave."""
        say()
        self.flush()
        self._leave()

    def stop(self) -> None:
        """Leave as soon as nothing would be cut short."""
        if self._handshake is not None:
            self.wire.abortConnection()
        self._pump()

    def stop_now(self) -> None:
        """Leave, whatever is going on."""
        self.end(self.dismiss)
