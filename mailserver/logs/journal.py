"""The journal of messages: keeps the events of each message for ``mailserver trace``.

An event costs one append to a list. About once a second a thread encodes the events and appends them to a
file, without a sync. A killed process loses the events of the last second.

A line is a JSON object: ``time`` in seconds since the epoch, ``event`` with the class of the event, and the
fields of the event.
"""

import json
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from mailserver.durable.rotated import RotatedFiles
from mailserver.events.base import Event, observe, report, stop_observing
from mailserver.events.server import JournalNotWritten
from mailserver.interfaces import IReactor
from mailserver.threads.pool import run_in_thread

EVERY = 1.0  # seconds
MOST = 100_000  # events in memory; more are dropped

_encode = json.JSONEncoder(
    default=str, ensure_ascii=False, check_circular=False, separators=(",", ":")
).encode


@implementer(ILogObserver)
class Journal:
    """Writes the events of messages to ``files``; without files it keeps nothing."""

    def __init__(self, files: RotatedFiles | None, reactor: IReactor) -> None:
        self._files = files
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

    def flush(self) -> "Deferred[None]":
        """Write the events in memory. It never fails."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._writing.run(self._flush)

    def _flush(self) -> "Deferred[None]":
        self._planned = False
        events = [self._events.popleft() for _ in range(len(self._events))]
        return run_in_thread(self._reactor, self._write, events).addCallback(self._written)

    def _write(self, events: Sequence[tuple[float, Event]]) -> OSError | None:
        if self._files is None or not events:
            return None
        try:
            self._files.append("".join(map(_line, events)).encode("utf-8", "backslashreplace"), time.time())
        except OSError as error:
            return error
        return None

    def _written(self, error: OSError | None) -> None:
        """Report the first error of several."""
        if error is not None and not self._broken:
            report(JournalNotWritten(error=error))
        self._broken = error is not None


def _line(taken: tuple[float, Event]) -> str:
    when, event = taken
    record: dict[str, Any] = {"time": when, "event": type(event).__name__, **vars(event)}
    return _encode(record) + "\n"
