"""A session of any protocol on a stream transport: input, events, replies, back-pressure.

A :class:`SessionLoop` feeds a session, handles its events one after another, and writes its replies
together. It works in slices, in turn with all other connections (see ``run_queue``). While it waits for its
turn, or for the Deferred of an event, new input pauses the transport. Earlier it does not pause: that costs
two system calls, and most clients wait for a reply. While the peer does not read, the session does not run.
So memory is bounded.
"""

from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol as TransportProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.events.base import report
from mailserver.events.connections import ConnectionCut, SessionFailed
from mailserver.mail.ids import new_id
from mailserver.mail.verdict import Defer
from mailserver.net.limits import Limits
from mailserver.net.results import fired
from mailserver.net.run_queue import SLICE, RunQueue
from mailserver.net.wire import IStreamTransport, TransportWriter
from mailserver.session.core import LineSession

# Octets of a message that count as progress.
PROGRESS_OCTETS = 16384


@implementer(IPushProducer, IHalfCloseableProtocol)
class SessionLoop(TransportProtocol):
    """Runs a session. A subclass admits clients, handles the events, and ends the session.

    ``id`` is the id of the connection in the log.
    """

    session: LineSession
    wire: IStreamTransport
    _writer: TransportWriter

    def __init__(
        self, client_ip: str, limits: Limits, run_queue: RunQueue, seconds: Callable[[], float]
    ) -> None:
        """``seconds`` is the clock of the ``run_queue``."""
        self.id = self.new_session_id()
        self.client_ip = client_ip
        self._limits = limits
        # The key of the client in the limits, "" for a client without limits.
        self.client = limits.client(client_ip)
        self._run_queue = run_queue
        self._seconds = seconds
        # An event that is not handled yet, since the time of the slice was over.
        self._next_event: Any = None
        # Any: each event has its own type of answer.
        self._pending: Deferred[Any] | None = None
        self._drained: Deferred[None] | None = None
        self._commands = self._progress = 0
        # The time of the last progress, by the clock of the ``run_queue``.
        self.last_progress = self.slice_began = seconds()
        # The time limit of the current transaction.
        self.due = inf
        self._pumping = self._queued = self._reading_paused = self._blocked = self._reply_delayed = False
        self._closing = self._input_over = self._stopping = False

    def new_session_id(self) -> str:
        """The identifier of this session in logs."""
        return new_id()

    # ------------------------------------------------------------ for subclasses

    def handle(self, event: Any) -> object:
        """Handle an event. Returns the answer of a request, or a Deferred of the answer.

        A Deferred pauses the session until it fires, for every event.
        """
        raise NotImplementedError

    def recover(self) -> None:
        """An event could not be handled."""
        self.session.fail()

    def reject(self, refusal: Defer) -> None:
        """The client has exceeded the command rate: end the session."""
        raise NotImplementedError

    def overdue(self) -> None:
        """The time limit of the transaction has passed: see :attr:`due`."""
        raise NotImplementedError

    def close_if_done(self, more: bool) -> None:
        """Close the connection if the session is closed, the client has ended its input, or the server stops.

        With ``more``, the session has more to do in the next slice.
        """
        raise NotImplementedError

    def received_after_end(self, data: bytes) -> None:
        """Input after the end of the session. It is ignored."""

    # ------------------------------------------------------------ transport

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            self.received_after_end(data)
            return
        self.session.receive(data)
        if self._pending is not None or self._queued:
            self._pause_reading()
        elif not self._pumping:
            self._queued = self._run_queue.run(self._work)

    def readConnectionLost(self) -> None:
        """The client has ended its input: send the replies, then close."""
        self._input_over = True
        self._pump()

    def writeConnectionLost(self) -> None:
        """Never called: no code here closes one direction only."""

    def pauseProducing(self) -> None:
        """The peer does not read: stop the session."""
        self._blocked = True
        self._pause_reading()

    def resumeProducing(self) -> None:
        """The peer has read its replies: continue."""
        self._blocked = False
        self._writer.drained()
        self.last_progress = self._seconds()
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)
        elif self._pending is None and not self._queued:
            self._resume_reading()
            self._pump()

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` does the rest."""

    async def drained(self) -> None:
        """Write the queued replies, then wait until the peer has read them or has disconnected."""
        self.flush()
        if self._blocked and not self._closing:
            self._drained = Deferred()
            await self._drained

    # ------------------------------------------------------------ the loop

    def _pump(self) -> None:
        """Run the session for a slice, now or in its turn."""
        if not (self._pumping or self._queued or self._pending is not None):
            self._queued = self._run_queue.run(self._work)

    def _work(self, now: float) -> bool:
        """Run the session until it needs input, an answer or a reading peer, or until the slice is over.

        See ``run_queue``.
        """
        queued, self._queued = self._queued, False
        self.slice_began = now
        if self._closing:
            return False
        session, more, handled = self.session, False, False
        self._pumping = True
        try:
            while not self._blocked and not self._closing:
                event = self._next_event or session.next_event()
                self._next_event = None
                if self._commands != session.commands:
                    count, self._commands = session.commands - self._commands, session.commands
                    if self.client and (refusal := self._limits.commands(self.client, count)):
                        self.reject(refusal)
                if event is None or self._closing:
                    break
                if handled and self._seconds() >= now + SLICE:
                    self._next_event, more = event, True
                    break
                handled = True
                try:
                    answer = self.handle(event)
                    if answer is not None and isinstance(answer, Deferred):
                        if not fired(answer):
                            self._pending = answer
                            answer.addBoth(self._handled)
                            if self._pending is not None:
                                break
                            continue
                        answer = answer.result
                    if session.awaited is not None:
                        session.answer(answer)
                except Exception:  # noqa: BLE001 - the client gets a reply, and the log a traceback
                    self._event_failed(Failure())
            # Only complete lines and message octets count: a client that sends single octets is idle.
            progress = session.commands + session.octets // PROGRESS_OCTETS
            if self._progress != progress:
                self._progress, self.last_progress = progress, now
                if now > self.due and session.busy and session.awaited is None:
                    self.overdue()
            if not self._reply_delayed:
                if (output := session.take_output()) and not self._closing:
                    self._writer.write(output)
                if self._input_over or self._stopping or session.closed:
                    self.close_if_done(more)
        except Exception:  # noqa: BLE001 - the session is broken; other sessions must continue
            self._abort_connection()
            return False
        finally:
            self._pumping = False
        more = more and not self._closing
        if queued and not (more or self._closing or self._blocked or self._pending is not None):
            self._resume_reading()
        self._queued = queued and more
        return more

    def _pause_reading(self) -> None:
        """Pause reading."""
        self._reading_paused = True
        self.wire.pauseProducing()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._input_over:
            self._reading_paused = False
            self.wire.resumeProducing()

    def _handled(self, result: object) -> None:
        self._pending = None
        try:
            if self._reply_delayed:
                self._reply_delayed = False
                self.flush()
            if isinstance(result, Failure):
                if self._closing and result.check(CancelledError):
                    return
                self._event_failed(result)
            elif self.session.awaited is not None and not self._closing:
                try:
                    self.session.answer(result)
                except Exception:  # noqa: BLE001 - as above
                    self._event_failed(Failure())
            if self._pumping or self._closing:
                return
            if not self._blocked:
                self._resume_reading()
            self.last_progress = self._seconds()
            self._pump()
        except Exception:  # noqa: BLE001 - the reply to a failure has failed, too
            self._abort_connection()

    def _abort_connection(self) -> None:
        """Close the connection of a broken session, since it would never reply."""
        report(ConnectionCut(client=self.client_ip, session=self.id), Failure())
        self.wire.abortConnection()

    def _event_failed(self, failure: Failure) -> None:
        report(SessionFailed(client=self.client_ip, session=self.id), failure)
        self.recover()

    def flush(self) -> None:
        """Write the replies that the session has queued."""
        output = self.session.take_output()
        if output and not self._closing:
            self._writer.write(output)
