"""The same server for asynchronous tests, under asyncio, trio (by anyio) and Twisted.

What waits is a coroutine; everything else takes less than a millisecond, and is called as it is.
"""

import asyncio
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.testing.message import CaughtMessage
from mailserver.testing.searches import (
    Search,
    a_message,
    exactly,
    next_message,
    next_session,
    so_many_messages,
)
from mailserver.testing.server import TIMEOUT, MailServer
from mailserver.testing.sessions import Session

T = TypeVar("T")


class Waker(Protocol):
    """Wakes one coroutine, from any thread. Does nothing if the loop of the coroutine is over."""

    def wake(self) -> None: ...
    async def wait(self, seconds: float) -> None: ...


class AsyncioWaker:
    """For a task of asyncio."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> None:
        """See :class:`Waker`."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken, for at most ``seconds``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()


class TrioWaker:
    """For a task of trio."""

    def __init__(self) -> None:
        # Any: trio is no dependency.
        self._trio: Any = sys.modules["trio"]
        self._token = self._trio.lowlevel.current_trio_token()
        self._event = self._trio.Event()

    def wake(self) -> None:
        """See :class:`Waker`."""
        with suppress(self._trio.RunFinishedError):
            self._token.run_sync_soon(lambda: self._event.set())

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken, for at most ``seconds``."""
        with self._trio.move_on_after(seconds):
            await self._event.wait()
        self._event = self._trio.Event()


class TwistedWaker:
    """For a coroutine of Twisted, on the global reactor or on another one."""

    def __init__(self, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._deferred: Deferred[None] = Deferred()

    def wake(self) -> None:
        """See :class:`Waker`."""
        self._reactor.callFromThread(self._fire)

    def _fire(self) -> None:
        if not self._deferred.called:
            self._deferred.callback(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken, for at most ``seconds``."""
        timer = self._reactor.callLater(seconds, self._fire)
        try:
            await self._deferred
        finally:
            if timer.active():
                timer.cancel()
        self._deferred = Deferred()


def waker() -> Waker:
    """The waker for the coroutine that runs now."""
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return TrioWaker()
    try:
        if asyncio.current_task() is not None:
            return AsyncioWaker()
    except RuntimeError:
        return TwistedWaker()  # no loop of asyncio runs
    return TwistedWaker()


async def look_for(search: Search[T], timeout: float, woken: Waker) -> T | None:
    """Wait until the search finds something, for at most ``timeout`` seconds of real time."""
    end = time.monotonic() + timeout
    search.inbox.listen(woken.wake)
    try:
        while (found := search.look()) is None and (left := end - time.monotonic()) > 0:
            await woken.wait(left)
        return found
    finally:
        search.inbox.unlisten(woken.wake)


class AsyncClock:
    """The time of a server."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def advance(self, duration: str | float) -> None:
        """See :meth:`~mailserver.testing.server.Clock.advance`."""
        woken, results = waker(), []

        def done(result: object) -> None:
            results.append(result)
            woken.wake()

        def begin() -> None:
            Deferred.fromCoroutine(self._server.instance.clock.advance(duration)).addBoth(done)

        self._server.thread.reactor.callFromThread(begin)
        while not results:
            await woken.wait(60.0)
        if isinstance(results[0], Failure):
            results[0].raiseException()

    def time(self) -> float:
        """See :meth:`~mailserver.testing.server.Clock.time`."""
        return self._server.clock.time()


class AsyncMailServer:
    """A :class:`~mailserver.testing.server.MailServer`, with coroutines in place of what waits.

    Attributes that are not here are those of ``server``.
    """

    def __init__(self, **settings: Any) -> None:
        """See :class:`~mailserver.testing.server.MailServer`."""
        self.server = MailServer(**settings)
        self.clock = AsyncClock(self.server)

    # Any: the attributes of the server.
    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)

    async def __aenter__(self) -> Self:
        self.server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)

    async def wait_for(self, *, timeout: float = TIMEOUT, **match: Any) -> CaughtMessage:
        """See :meth:`~mailserver.testing.server.MailServer.wait_for`."""
        return await self._wait(next_message(self.server.inbox, match), timeout)

    async def wait_for_count(
        self, count: int, *, timeout: float = TIMEOUT, **match: Any
    ) -> list[CaughtMessage]:
        """See :meth:`~mailserver.testing.server.MailServer.wait_for_count`."""
        search = so_many_messages(self.server.inbox, count, match)
        return exactly(count, search, await self._wait(search, timeout))

    async def assert_no_message(self, *, within: float = 0.0, **match: Any) -> None:
        """See :meth:`~mailserver.testing.server.MailServer.assert_no_message`."""
        search = a_message(self.server.inbox, match)
        if (found := await look_for(search, within, waker())) is not None:
            raise search.unexpected(found)

    async def wait_for_session(self, *, timeout: float = TIMEOUT, **match: Any) -> Session:
        """See :meth:`~mailserver.testing.server.MailServer.wait_for_session`."""
        return await self._wait(next_session(self.server.inbox, **match), timeout)

    async def _wait(self, search: Search[T], timeout: float) -> T:
        found = await look_for(search, timeout, waker())
        if found is None:
            raise search.failure(timeout)
        return found
