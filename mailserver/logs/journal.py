"""The journal of messages: keeps the events of each message for ``mailserver trace``.

An event costs one append to a list. About once a second a thread encodes the events and appends them to a
file, without a sync. A killed process loses the events of the last second.

With several workers the first one writes the file, and the others give it their lines.

A line is a JSON object: ``time`` in seconds since the epoch, ``event`` with the class of the event, and the
fields of the event.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.cluster.alone import ALONE
from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.durable.rotated import RotatedFiles
from mailserver.errors import StorageError
from mailserver.events.base import Event, observe, report, stop_observing
from mailserver.events.server import JournalNotWritten
from mailserver.interfaces import IReactor
from mailserver.threads.pool import run_in_thread

EVERY = 1.0  # seconds
MOST = 100_000  # events in memory; more are dropped
PATIENCE = 10.0  # seconds for an answer of another worker
LINES, FLUSH = "journal lines", "journal flush"  # questions between workers


_encode = json.JSONEncoder(
    default=str, ensure_ascii=False, check_circular=False, separators=(",", ":")
).encode


@implementer(ILogObserver)
class Journal:
    """Writes the events of messages to ``files``; without files it keeps nothing. Workers other than the
    first of the ``peers`` send their lines to it."""

    def __init__(self, files: RotatedFiles | None, reactor: IReactor, peers: IPeers = ALONE) -> None:
        self._files = files
        self._peers = peers
        peers.serve(LINES, self._take_lines)
        peers.serve(FLUSH, lambda _: self.flush())
        self._reactor = reactor
        self._events: deque[tuple[float, Event]] = deque(maxlen=MOST)
        self._planned = False
        self._timer: IDelayedCall | None = None
        self._writing = DeferredLock()
        self._broken = False

    def open(self) -> None:
        """Begin to take events."""
        if self._files is not None:
            observe(self)

    async def close(self) -> None:
        """Take no more events, and write those in memory."""
        if self._files is not None:
            stop_observing(self)
            await self.flush()

    def __call__(self, event: LogEvent) -> None:
        """Take an event. Any thread may log."""
        what = event.get("log_event")
        if isinstance(what, Event) and what.of_message:
            self._events.append((event["log_time"], what))
            if not self._planned:
                self._planned = True
                self._reactor.callFromThread(self._plan)

    def _plan(self) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(EVERY, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush()

    async def flush_all(self) -> None:
        """Write the events in memory of all workers. Those of a worker that does not answer are missing."""
        flushed = self._peers.ask_others(FLUSH).addTimeout(PATIENCE, self._reactor)
        await flushed.addErrback(lambda failure: failure.trap(StorageError, TimeoutError) and None)
        await self.flush()

    def flush(self) -> "Deferred[None]":
        """Write the events in memory. It never fails."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._writing.run(self._flush)

    def _flush(self) -> "Deferred[None]":
        self._planned = False
        events = [self._events.popleft() for _ in range(len(self._events))]
        if self._peers.number == FIRST:
            return self._write(lambda: _lines(events))
        lines = run_in_thread(self._reactor, _lines, events)
        return lines.addCallback(self._send).addErrback(self._not_sent, events)

    def _send(self, lines: bytes) -> "Deferred[None]":
        if not lines:
            return succeed(None)
        sent: Deferred[None] = self._peers.ask(FIRST, LINES, lines)
        return sent.addTimeout(PATIENCE, self._reactor)

    def _not_sent(self, failure: Failure, events: Sequence[tuple[float, Event]]) -> None:
        """Keep the events for the next attempt."""
        failure.trap(StorageError, TimeoutError)
        if len(self._events) + len(events) <= MOST:
            self._events.extendleft(reversed(events))

    def _take_lines(self, lines: bytes) -> "Deferred[None]":
        """Write the lines of another worker."""
        return self._writing.run(self._write, lambda: lines)

    def _write(self, lines: Callable[[], bytes]) -> "Deferred[None]":
        return run_in_thread(self._reactor, self._append, lines).addCallback(self._written)

    def _append(self, make: Callable[[], bytes]) -> OSError | None:
        if self._files is None or not (lines := make()):
            return None
        try:
            self._files.append(lines, time.time())
        except OSError as error:
            return error
        return None

    def _written(self, error: OSError | None) -> None:
        """Report the first error of several."""
        if error is not None and not self._broken:
            report(JournalNotWritten(error=error))
        self._broken = error is not None


def _lines(events: Sequence[tuple[float, Event]]) -> bytes:
    return "".join(map(_line, events)).encode("utf-8", "backslashreplace")


def _line(taken: tuple[float, Event]) -> str:
    when, event = taken
    record: dict[str, Any] = {"time": when, "event": type(event).__name__, **vars(event)}
    return _encode(record) + "\n"
