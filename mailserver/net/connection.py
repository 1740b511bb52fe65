"""What every session on a transport has in common, whatever its protocol.

A :class:`Connection` feeds a sans-IO session, handles its events one after another, and writes its
replies together. While an event's Deferred is pending the transport is paused as soon as more comes;
while the peer does not read, nothing more is processed: memory stays bounded either way. A
:class:`ConnectionFactory` knows its connections, so that a server can end without cutting transactions
short.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TransportProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.interfaces import IReactor
from mailserver.net.wire import IWire, Writer


class ISession(Protocol):
    """The part of a session that :class:`Connection` needs."""

    @property
    def closed(self) -> bool:
        """The connection is to be closed after the output."""
        ...

    @property
    def progress(self) -> int:
        """Grows with each command, and with each good piece of a message."""
        ...

    def greet(self) -> None: ...
    def receive(self, data: bytes) -> None: ...
    def next_event(self) -> Any: ...
    def take_output(self) -> bytes: ...


def fired(deferred: "Deferred[Any]") -> bool:
    """Whether the result is there already and is no failure: most are, and callbacks have their price."""
    return deferred.called and not deferred.paused and not isinstance(deferred.result, Failure)


def client_ip(address: object) -> str:
    """The IP address of a client, "" if it has none; IPv4 as such, also on a port for both."""
    host: str = getattr(address, "host", None) or ""
    return host.removeprefix("::ffff:") if "." in host else host


@implementer(IPushProducer, IHalfCloseableProtocol)
class Connection(TransportProtocol):
    """One client. Subclasses say what their session's events mean."""

    log: ClassVar[Logger]
    factory: "ConnectionFactory"
    session: ISession
    wire: IWire

    def __init__(self, factory: "ConnectionFactory", client_ip: str) -> None:
        self.factory = factory
        self.client_ip = client_ip
        self._pumping = False
        self._pending: Deferred[Any] | None = None
        self._holding = False
        self._blocked = False
        self._drained: Deferred[None] | None = None
        self._leaving = False
        self._input_over = False

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

    @property
    def busy(self) -> bool:
        """True while the session is in something that a stopping server lets it finish."""
        raise NotImplementedError

    # ------------------------------------------------------------ transport

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        self.wire = cast(IWire, self.transport)
        self._writer = Writer(self.wire)
        if self.client_ip:
            self.wire.setTcpNoDelay(True)
        self.wire.registerProducer(self, True)
        self._timeout = self.factory.timeout()
        self._timer = self.factory.reactor.callLater(self._timeout, self._check_time)
        self._give_time()
        self.session.greet()
        self._pump()

    def dataReceived(self, data: bytes) -> None:
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
        if self._timer.active():
            self._timer.cancel()
        self._leaving = True
        self.factory.connections.discard(self)
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
                if event is None or self._handle(event):
                    break
        finally:
            self._pumping = False
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
            if isinstance(result, Failure):
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
        self.failed()

    def flush(self) -> None:
        """Write the replies that the session has queued."""
        output = self.session.take_output()
        if output and not self._leaving:
            self._writer.write(output)

    # ------------------------------------------------------------ endings

    def _give_time(self) -> None:
        self._moved_on = self.factory.reactor.seconds()

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            # A peer that never reads its last reply is cut off in the end.
            self._give_time()
            self.wire.unregisterProducer()
            self.wire.loseConnection()

    def _check_time(self) -> None:
        reactor = self.factory.reactor
        left = self._moved_on + self._timeout - reactor.seconds()
        late = left <= 0
        if late and (self._leaving or self._blocked):
            # The peer has not taken what it asked for in all this time.
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
        self._pump()

    def stop_now(self) -> None:
        """Leave, whatever is going on."""
        self.end(self.dismiss)


class ConnectionFactory(Factory):
    """Makes connections, and ends them all when the server stops."""

    noisy = False

    def __init__(self, reactor: IReactor, timeout: Callable[[], float]) -> None:
        """``timeout`` gives the seconds in which a new client must make progress, or is sent away."""
        self.reactor = reactor
        self.timeout = timeout
        self.connections: set[Connection] = set()
        self.stopping = False
        self._all_gone: Deferred[None] | None = None

    def stop(self, grace: float) -> "Deferred[None]":
        """Let the connections go: the idle at once, the busy when done or after ``grace`` seconds.

        Fires when the last is gone. The port must not accept any more by then.
        """
        self.stopping = True
        for connection in list(self.connections):
            connection.stop()
        if not self.connections:
            return succeed(None)
        self._all_gone = Deferred()
        self._deadline = self.reactor.callLater(grace, self._stop_now)
        return self._all_gone

    def _stop_now(self) -> None:
        for connection in list(self.connections):
            connection.stop_now()
        # A client that does not even take its last reply gets a second, no more.
        self._deadline = self.reactor.callLater(1, self._abort)

    def _abort(self) -> None:
        for connection in list(self.connections):
            connection.wire.abortConnection()

    def left(self, connection: Connection) -> None:
        """Called by each connection when it is gone."""
        if self._all_gone is not None and not self.connections:
            if self._deadline.active():
                self._deadline.cancel()
            done, self._all_gone = self._all_gone, None
            done.callback(None)
