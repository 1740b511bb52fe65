"""Connections with the joint between them and their sessions: they perform what rules do.

The acts that need time or the transport are events of the session: waiting, resets, half-closed connections.
Those at the moments "connect" and "tls" are performed here.
"""

from collections.abc import Iterable, Mapping
from math import isinf
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from mailserver.faults.acts import ActStep, Ending, Pause, Plan
from mailserver.faults.moments import POP3, SMTP
from mailserver.faults.script import Script
from mailserver.faults.session import ScriptedSession
from mailserver.faults.transcript import Transcript
from mailserver.net.connection import Connection
from mailserver.net.factory import ConnectionFactory
from mailserver.net.pop3 import POP3Connection, POP3Factory
from mailserver.net.smtp import SMTPConnection, SMTPFactory
from mailserver.net.wire import IStreamTransport, TransportWriter
from mailserver.sasl.mechanisms import Channel
from mailserver.session.events import LoginAsked
from mailserver.smtp.events import MessageStarted
from mailserver.testing.inbox import Inbox
from mailserver.testing.sessions import Session

_LARGE = 65536  # octets; more than an alert of TLS
CUT_AFTER = 7  # octets of a TLS handshake that are sent before its connection is reset


class ScriptedConnection(Connection):
    """The part that both protocols share. ``record`` is the session as tests see it."""

    record: Session
    scripted: ScriptedSession
    _script: Script
    _mechanism = ""
    _is_cut = False
    # The client gets nothing more, and its input is dropped.
    _is_deaf = False
    _arriving: "Deferred[None] | None" = None

    def script_session(self, script: Script, inbox: Inbox) -> None:
        """Put the joint in front of the session. Call this at the end of ``__init__``."""
        transcript = Transcript(self.id, script.protocol, self.client_ip, script.now())
        self.record = Session(self.id, script.protocol, self.client_ip, transcript)
        self.scripted = ScriptedSession(self.session, script, transcript)
        # Any: it is a session by its methods.
        self.session: Any = self.scripted
        self._now = script.now
        self._inbox = inbox
        inbox.began(self.record)

    def new_session_id(self) -> str:
        """See the base class."""
        return self._script.new_id()

    # ------------------------------------------------------------ the beginning

    def connectionMade(self) -> None:
        plan = self.scripted.connecting()
        if plan is None:
            super().connectionMade()
            return
        self.wire = cast(IStreamTransport, self.transport)
        self._writer = TransportWriter(self.wire)
        self.wire.pauseProducing()
        self.factory.connections.add(self)
        self._arriving = Deferred.fromCoroutine(self._arrive_by(plan))
        self._arriving.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _arrive_by(self, plan: Plan) -> None:
        await self._perform(plan.before)
        if plan.runs:
            self._arriving = None
            self.factory.connections.discard(self)
            self.wire.resumeProducing()
            super().connectionMade()
        else:
            self.wire.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if not self._is_deaf:
            super().dataReceived(data)

    def readConnectionLost(self) -> None:
        if self._is_deaf:
            self.wire.loseConnection()
        else:
            super().readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.record.closed:
            self.record.transcript.event("connection closed", self._now(), tls=bool(self.tls))
            self.record.closed = True
            self._inbox.changed()
        if self._arriving is not None:
            self._closing = True
            self._arriving.cancel()
            self.factory.connections.discard(self)
            self.factory.closed(self.tls)
        else:
            super().connectionLost(reason)

    def stop(self) -> None:
        """Close the connection now: a test does not wait for its clients."""
        self.wire.abortConnection()

    # ------------------------------------------------------------ acts

    def handle(self, event: Any) -> object:
        """See the base class."""
        match event:
            case Pause(seconds):
                return self._sleep(seconds)
            case Ending():
                self.flush()
                self._end_by(event)
                return None
            case LoginAsked(mechanism):
                self._mechanism = mechanism
        answer = super().handle(event)
        if user := self._logged_in():
            self.record.account, self.record.mechanism = user, self._mechanism
        return answer

    def _logged_in(self) -> str:
        """The account that has logged in."""
        raise NotImplementedError

    def _sleep(self, seconds: float) -> "Deferred[None]":
        """Wait. For ever, input is dropped: so the end of the connection is noticed."""
        if not isinf(seconds):
            return self.wait(seconds)
        self._turn_deaf()
        self._waiting = Deferred()
        return self._waiting

    def _turn_deaf(self) -> None:
        self._is_deaf = True
        self.wire.resumeProducing()

    async def _perform(self, steps: Iterable[ActStep]) -> None:
        """Perform steps. Never returns after an ending, until it is cancelled."""
        for step in steps:
            match step:
                case bytes():
                    self.record.transcript.reply(step, self._now(), tls=bool(self.tls))
                    self._writer.write(step)
                case Pause(seconds) if isinf(seconds):
                    self._turn_deaf()
                    await Deferred()
                case Pause(seconds):
                    await deferLater(self.factory.reactor, seconds)
                case Ending():
                    self.record.transcript.event(step.value, self._now(), tls=False)
                    self._end_by(step)
                    await Deferred()

    def _end_by(self, ending: Ending) -> None:
        # Any: a connection of TCP has more methods than a stream.
        wire: Any = self.wire
        if ending is Ending.CLOSE:
            wire.loseConnection()
            return
        self._turn_deaf()
        if isinstance(wire, TLSMemoryBIOProtocol):
            # It gives its output to TCP in the next turn of the reactor.
            self.factory.reactor.callLater(0, self._end_tls, wire, ending)
        elif ending is Ending.RESET:
            wire.abortConnection()
        else:
            wire.loseWriteConnection()

    def _end_tls(self, tls: Any, ending: Ending) -> None:
        if self._closing:
            return
        if ending is Ending.RESET:
            # TLS does not say that it ends. TCP sends its output before that.
            self.factory.reactor.callLater(0, tls.transport.abortConnection)
        else:
            # RFC 8446 section 6.1: close_notify closes one direction. That of TCP stays open.
            handle = tls.getHandle()
            handle.shutdown()
            tls.transport.write(handle.bio_read(_LARGE))

    # ------------------------------------------------------------ TLS

    async def begin_tls(self, discarded: int = 0) -> Channel | None:
        """See the base class."""
        if (plan := self.scripted.starting_tls()) is not None:
            self.flush()
            # The client may begin its handshake, which this side is to read later.
            self._pause_reading()
            steps = [step for step in plan.before if step is not Ending.CUT]
            self._is_cut = len(steps) < len(plan.before)
            acting = Deferred.fromCoroutine(self._perform(steps))
            self._waiting = acting  # cancelled with the connection
            await acting
            if self._is_cut:
                self.record.transcript.event(Ending.CUT.value, self._now(), tls=False)
        channel = await super().begin_tls(discarded)
        if channel is not None:
            self.record.tls = self.tls
        return channel

    def _start_tls(self, context: object) -> None:
        """As ``startTLS``, but on the clock of this server: Twisted takes that of the global reactor."""
        wire: Any = self.wire
        wire.unregisterProducer()
        # Any: the TLS protocol is not typed, and it needs no factory for what it wraps.
        make: Any = TLSMemoryBIOFactory
        factory = make(context, False, None, clock=self.factory.reactor)
        tls: Any = factory.protocol(factory, self, False)
        wire.protocol = tls
        self.transport = self.wire = tls
        self._writer = TransportWriter(tls)
        tls.makeConnection(_CutTransport(wire) if self._is_cut else wire)
        tls.registerProducer(self, True)


class _CutTransport:
    """A transport that resets its connection after the first octets."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self._is_over = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def write(self, data: bytes) -> None:
        """Send a few octets, then reset. What TLS says at the end of the connection is not sent."""
        if self._is_over or not self._wire.connected:
            return
        self._is_over = True
        self._wire.writeSomeData(data[:CUT_AFTER])
        self._wire.abortConnection()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """See :meth:`write`."""
        self.write(b"".join(pieces))


class ScriptedSMTPConnection(ScriptedConnection, SMTPConnection):
    """One SMTP client."""

    def __init__(self, factory: SMTPFactory, client_ip: str, script: Script, inbox: Inbox) -> None:
        self._script = script
        SMTPConnection.__init__(self, factory, client_ip)
        self.script_session(script, inbox)

    def handle(self, event: Any) -> object:
        """See the base class."""
        answer = super().handle(event)
        if isinstance(event, MessageStarted) and self._receiver.transaction is not None:
            self._inbox.comes_by(self._receiver.transaction.id, self.record)
        return answer

    def _logged_in(self) -> str:
        return self.session.user or ""


class ScriptedPOP3Connection(ScriptedConnection, POP3Connection):
    """One POP3 client."""

    def __init__(self, factory: POP3Factory, client_ip: str, script: Script, inbox: Inbox) -> None:
        self._script = script
        POP3Connection.__init__(self, factory, client_ip)
        self.script_session(script, inbox)

    def _logged_in(self) -> str:
        return str(self._logins.user.address) if self._maildrop is not None and self._logins.user else ""


def scripted(factory: ConnectionFactory, scripts: Mapping[str, Script], inbox: Inbox) -> ConnectionFactory:
    """The factory, which makes scripted connections from now on. ``inbox`` gets each session."""
    made: Any = factory
    if isinstance(factory, SMTPFactory):
        made.connection = lambda ip: ScriptedSMTPConnection(factory, ip, scripts[SMTP], inbox)
    elif isinstance(factory, POP3Factory):
        made.connection = lambda ip: ScriptedPOP3Connection(factory, ip, scripts[POP3], inbox)
    return factory
