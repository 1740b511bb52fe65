"""Fair scheduling of slow work among clients, such as hashing passwords: a few pieces at a time.

Clients take turns, so a client with a hundred guesses delays only itself. Background work runs one piece at a
time, and only while no client waits.
"""

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorThreads
from twisted.python.threadpool import ThreadPool

from mailserver.errors import StorageError
from mailserver.threads.pool import run_in_thread

T = TypeVar("T")

# The client name of background work. It cannot be mistaken for an address.
BACKGROUND = "background"

# The pieces of work that one client may have waiting: far more than a webmail server needs at once.
MAX_WAITING = 1000


class TooManyWaiting(StorageError):
    """One client has too much work waiting."""

    def __init__(self) -> None:
        super().__init__("too many logins of this client wait")


class FairThreadPool:
    """A thread pool whose work is scheduled by client. For the reactor's thread."""

    def __init__(self, reactor: IReactorThreads, threads: ThreadPool, width: int) -> None:
        """``width``: the pieces of work that run at a time, which is the number of threads."""
        self._reactor = reactor
        self._threads = threads
        self._width = width
        # Deferred[Any] here and below: each function has its own type of result.
        self._waiting: dict[str, deque[tuple[Callable[[], Any], Deferred[Any]]]] = {}
        self._running: Counter[str] = Counter()
        self._busy = 0
        self._closed = False

    def run(self, client: str, function: Callable[..., T], *args: object) -> Deferred[T]:
        """Call ``function`` in a thread when it is the client's turn, and fire with its result.

        Work that is cancelled while it waits does not run. Fails with :class:`TooManyWaiting`, and
        with CancelledError once closed.
        """
        waiting = self._waiting.get(client, deque())
        if self._closed:
            return fail(CancelledError())
        if len(waiting) >= MAX_WAITING:
            return fail(TooManyWaiting())
        result = Deferred[T](partial(self._drop, client))
        waiting.append((partial(function, *args), result))
        self._waiting[client] = waiting
        self._go_on()
        return result

    def close(self) -> None:
        """Cancel all waiting work; running work ends by itself."""
        self._closed = True
        for waiting in list(self._waiting.values()):
            for _, result in list(waiting):
                result.cancel()

    def _go_on(self) -> None:
        while self._busy < self._width and (client := self._next()) is not None:
            waiting = self._waiting.pop(client)
            work, result = waiting.popleft()
            if waiting:
                self._waiting[client] = waiting
            self._running[client] += 1
            self._busy += 1
            run_in_thread(self._reactor, work, pool=self._threads).addBoth(self._done, client, result)

    def _next(self) -> str | None:
        """Clients with no running work go first, then other clients, then the background."""
        clients = [one for one in self._waiting if one != BACKGROUND]
        if clients:
            return next((one for one in clients if not self._running[one]), clients[0])
        return BACKGROUND if self._waiting and not self._running[BACKGROUND] else None

    def _done(self, value: Any, client: str, result: Deferred[Any]) -> None:
        self._busy -= 1
        if client != BACKGROUND:
            self._go_on()  # while this client still counts as one with running work
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        self._go_on()
        if not result.called:
            result.callback(value)

    def _drop(self, client: str, result: Deferred[Any]) -> None:
        waiting = [one for one in self._waiting.get(client, ()) if one[1] is not result]
        if waiting:
            self._waiting[client] = deque(waiting)
        else:
            self._waiting.pop(client, None)
