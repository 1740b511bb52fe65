"""The time of one fixture server: it runs with the real time, and a test can advance it.

Each server has a :class:`FixtureReactor` of its own in front of the reactor that all servers of the process
share. It has the delayed calls of its server. ``FixtureReactor.advance`` goes from one due call to the next,
and lets all work end that a call has begun before it goes on. So five days of retries take as long as the
attempts themselves.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from socket import socket
from threading import Lock
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.internet.tcp import Connector, Port
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from mailserver.config.schema.kinds import Context
from mailserver.config.schema.problems import InvalidValue
from mailserver.config.schema.scalars import Duration

BEGINNING = 1_767_225_600.0
"""2026-01-01T00:00:00Z, in seconds since the epoch: where a frozen clock starts."""
TURNS = 8
"""Turns of the reactor without any work after which nothing is on its way through sockets of this process.

A peer in the same process needs up to four to read, to let other connections go first, and to write.
"""
PATIENCE = 1.0
"""Real seconds that an advance waits for work that does not end, such as a session with a silent server."""
_MOST_CANCELLED = 64


def parse_duration(duration: str | float) -> float:
    """Seconds of a duration such as "4h", written as in the configuration. Raises ValueError."""
    try:
        return Duration().convert(duration, Context())
    except InvalidValue as error:
        raise ValueError(f"{error}: expected {error.allowed or Duration().allowed}") from None


class InlineThreadPool:
    """A thread pool without threads: it runs each function at once."""

    def callInThread(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Run ``function``. It may not raise: there is nobody to tell."""
        function(*args, **kwargs)

    def callInThreadWithCallback(
        self,
        onResult: Callable[[bool, Any], object] | None,
        function: Callable[..., object],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Run ``function``, and call ``onResult`` with True and its result, or with False and its Failure."""
        success, result = True, None
        try:
            result = function(*args, **kwargs)
        except Exception:  # noqa: BLE001 - it is handed on as a Failure
            success, result = False, Failure()
        if onResult is not None:
            onResult(success, result)


@implementer(IReactorTime, IReactorThreads)
class FixtureReactor:
    """The reactor of one server: a clock of its own; all else is that of the ``real`` reactor.

    ``idle``: functions that return False while work is in progress that the reactor does not know of, such as
    that of a thread. :meth:`settle` waits for them. For the thread of the ``real`` reactor, except
    ``callFromThread``.
    """

    def __init__(self, real: Any, *, frozen: bool = False, sockets: Mapping[int, socket] = {}) -> None:
        """``frozen``: the wall clock starts at :data:`BEGINNING`, and only :meth:`advance` moves it.

        ``sockets``: sockets that listen already, by their ports.
        """
        self._sockets = dict(sockets)
        self._real = real
        self._pool = InlineThreadPool()
        self.idle: list[Callable[[], bool]] = []
        # The time of ``seconds`` is the monotonic one and ``_ahead``; while it is advanced, ``_still``.
        self._ahead = 0.0
        self._still: float | None = None
        self._advancing = DeferredLock()
        self._frozen = frozen
        self._wall = BEGINNING if frozen else time.time() - time.monotonic()
        # Each call that is not done, with its order. The heap may have a call more than once, and old ones.
        self._outstanding: dict[DelayedCall, int] = {}
        self._order = count()
        self._heap: list[tuple[float, int, DelayedCall]] = []
        # A call of the real reactor for the first one here, or for one that was the first.
        self._alarm: Any = None
        self._alarm_time = 0.0
        self._lock = Lock()
        self._from_threads = 0
        self._has_moved = False
        directlyProvides(self, providedBy(real))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    # ------------------------------------------------------------ sockets: their timers are here, too

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """See ``IReactorTCP``. A socket that listens on this port already is used."""
        if (held := self._sockets.pop(port, None)) is None:
            listening = Port(port, factory, backlog, interface, self)
        else:
            with held:
                listening = Port._fromListeningDescriptor(self, held.fileno(), held.family, factory)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Connector:
        """See ``IReactorTCP``."""
        connector = Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def addWriter(self, writer: Any) -> None:
        """See ``IReactorFDSet``. A connection has something to send."""
        self._has_moved = True
        self._real.addWriter(writer)

    # ------------------------------------------------------------ time

    def seconds(self) -> float:
        """See ``IReactorTime``. It never goes backwards."""
        return time.monotonic() + self._ahead if self._still is None else self._still

    def time(self) -> float:
        """The wall clock: seconds since the epoch."""
        return self._wall if self._frozen else self._wall + self.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any) -> DelayedCall:
        """See ``IReactorTime``."""
        if delay < 0:
            raise ValueError(f"a call {-delay} seconds ago")
        call = DelayedCall(
            self.seconds() + delay, callable, args, kw, self._cancelled, self._push, self.seconds
        )
        self._outstanding[call] = next(self._order)
        self._push(call)
        return call

    def getDelayedCalls(self) -> tuple[DelayedCall, ...]:
        """See ``IReactorTime``."""
        return tuple(self._outstanding)

    def close(self) -> None:
        """Cancel all calls. Close the sockets of the server and :meth:`settle` before."""
        for call in self.getDelayedCalls():
            call.cancel()
        self._set_alarm()

    def _push(self, call: DelayedCall) -> None:
        """The call is new, or is due sooner than before."""
        heappush(self._heap, (call.time, self._outstanding[call], call))
        self._set_alarm()

    def _cancelled(self, call: DelayedCall) -> None:
        del self._outstanding[call]
        if len(self._heap) > 2 * len(self._outstanding) + _MOST_CANCELLED:
            self._heap = [(each.time, order, each) for each, order in self._outstanding.items()]
            heapify(self._heap)

    def _next_due(self) -> float | None:
        """When the first call is due. Then it is the first one of the heap."""
        while self._heap:
            when, order, call = self._heap[0]
            if call not in self._outstanding or call.time != when:
                heappop(self._heap)
            elif call.delayed_time:
                call.activate_delay()
                heapreplace(self._heap, (call.time, order, call))
            else:
                return when
        return None

    def _set_alarm(self) -> None:
        due = self._next_due()
        if self._alarm is not None:
            if due is not None and self._alarm_time <= due:
                return
            self._alarm.cancel()
            self._alarm = None
        if due is not None:
            self._alarm_time = due
            self._alarm = self._real.callLater(max(due - self.seconds(), 0.0), self._ring)

    def _ring(self) -> None:
        """Make the calls that are due. An exception goes to the real reactor, which logs it."""
        self._alarm = None
        now, newer = self.seconds(), next(self._order)
        try:
            while (due := self._next_due()) is not None and due <= now and self._heap[0][1] < newer:
                _, _, call = heappop(self._heap)
                del self._outstanding[call]
                call.called = 1
                call.func(*call.args, **call.kw)
        finally:
            self._set_alarm()

    # ------------------------------------------------------------ threads

    def callFromThread(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:
        """See ``IReactorFromThreads``."""
        with self._lock:
            self._from_threads += 1
        self._real.callFromThread(self._call_from_thread, callable, args, kw)

    def _call_from_thread(self, function: Callable[..., object], args: Any, kwargs: Any) -> None:
        with self._lock:
            self._from_threads -= 1
        function(*args, **kwargs)

    def getThreadPool(self) -> Any:
        """See ``IReactorThreads``. It has no threads: engines in memory do not block."""
        return self._pool

    # ------------------------------------------------------------ for tests

    async def settle(self) -> None:
        """Wait until nothing is due, on its way or in progress, but at most :data:`PATIENCE`."""
        patience = time.monotonic() + PATIENCE
        turns = 0
        while turns < TURNS and time.monotonic() < patience:
            turn: Deferred[None] = Deferred()
            self._real.callLater(0, turn.callback, None)
            await turn
            turns = 0 if self._is_busy() else turns + 1

    def _is_busy(self) -> bool:
        due, has_moved, self._has_moved = self._next_due(), self._has_moved, False
        if has_moved or self._from_threads or (due is not None and due <= self.seconds()):
            return True
        return not all(idle() for idle in self.idle)

    async def advance(self, duration: str | float) -> None:
        """Advance the clock by a duration, and make all calls that are due until then, each at its time.

        Between them the time stands still until the work has settled. Raises ValueError for a duration that
        cannot be read.
        """
        seconds = parse_duration(duration)
        async with self._still_time() as begin:
            end = begin + seconds
            await self.settle()
            while (due := self._next_due()) is not None and due <= end:
                self._move_to(due)
                await self.settle()
            self._move_to(end)
            await self.settle()

    @asynccontextmanager
    async def _still_time(self) -> AsyncIterator[float]:
        """The time stands still. The value is that time."""
        await self._advancing.acquire()
        self._still = self.seconds()
        try:
            yield self._still
        finally:
            self._ahead = self._still - time.monotonic()
            self._still = None
            self._set_alarm()
            self._advancing.release()

    def _move_to(self, when: float) -> None:
        assert self._still is not None
        if when > self._still:
            if self._frozen:
                self._wall += when - self._still
            self._still = when
            if self._alarm is not None:
                self._alarm.reset(max(self._alarm_time - when, 0.0))
