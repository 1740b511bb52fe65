"""Who is next, where many want what takes long: hashing passwords, a few at a time.

Clients take turns, so that one who guesses a hundred passwords holds up nobody but himself. Work that nobody
waits for is done one piece at a time, while no client waits. And the same work asked for by several is done
once.
"""

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.threadpool import ThreadPool

from mailserver.errors import StorageError
from mailserver.interfaces import IReactor
from mailserver.threads.pool import run_in_thread

T = TypeVar("T")

# Stands for no client, whose names are addresses: work that nobody waits for.
BACKGROUND = "background"

# How much one client may have waiting: far more than a webmail server wants at once.
MAX_WAITING = 1000


class TooManyWaiting(StorageError):
    """One client asks for more than it will live to see."""

    def __init__(self) -> None:
        super().__init__("too many logins of this client wait")


class Turns:
    """Work for a thread pool, given out in turns by client."""

    def __init__(self, reactor: IReactor, threads: ThreadPool, width: int) -> None:
        """``width`` is how much is done at a time: the number of threads."""
        self._reactor = reactor
        self._threads = threads
        self._width = width
        self._waiting: dict[str, deque[tuple[Callable[[], Any], Deferred[Any]]]] = {}
        self._running: Counter[str] = Counter()
        self._busy = 0
        self._closed = False

    def run(self, client: str, function: Callable[..., T], *args: object) -> Deferred[T]:
        """Call ``function`` in a thread when it is the client's turn, and fire with what it returns.

        What is cancelled while it waits is not done at all. Fails with :class:`TooManyWaiting`, and
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
        """Give up all that waits; what is being done is done."""
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
        """Who goes first: clients with no running work, then the others, then the background."""
        clients = [one for one in self._waiting if one != BACKGROUND]
        if clients:
            return next((one for one in clients if not self._running[one]), clients[0])
        return BACKGROUND if self._waiting and not self._running[BACKGROUND] else None

    def _done(self, value: Any, client: str, result: Deferred[Any]) -> None:
        self._busy -= 1
        if client != BACKGROUND:
            self._go_on()  # as long as this client counts as one who has something running
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


class _Flight(Generic[T]):
    """Work under way, and who waits for it."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[T]] = []
        self.work: Deferred[T] | None = None


class Together(Generic[T]):
    """Work by a key: while it is under way, whoever asks for it again gets the same result."""

    def __init__(self) -> None:
        self._flights: dict[bytes, _Flight[T]] = {}

    def join(self, key: bytes, begin: Callable[[], Deferred[T]]) -> Deferred[T]:
        """The result of the work that ``begin`` starts, unless it is under way.

        It is cancelled when everybody who waits for it has cancelled.
        """
        flight = self._flights.get(key)
        if flight is not None:
            return self._wait(key, flight)
        flight = self._flights[key] = _Flight[T]()
        result = self._wait(key, flight)
        flight.work = begin()
        flight.work.addBoth(self._land, key, flight)
        return result

    def _wait(self, key: bytes, flight: _Flight[T]) -> Deferred[T]:
        result = Deferred[T](partial(self._leave, key, flight))
        flight.waiting.append(result)
        return result

    def _leave(self, key: bytes, flight: _Flight[T], result: Deferred[T]) -> None:
        flight.waiting.remove(result)
        if not flight.waiting:
            del self._flights[key]
            assert flight.work is not None
            flight.work.cancel()

    def _land(self, value: Any, key: bytes, flight: _Flight[T]) -> None:
        if not flight.waiting:
            return  # everybody has left, and with them the key
        del self._flights[key]
        waiting, flight.waiting = flight.waiting, []
        for result in waiting:
            result.callback(value)
