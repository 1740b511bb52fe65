"""The way to hand blocking work to a thread."""

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mailserver.threads.switching import in_short_turns

T = TypeVar("T")


class Threads:
    """The threads of a pool, by default the reactor's. For the reactor's thread."""

    def __init__(self, reactor: IReactorThreads, pool: ThreadPool | None = None) -> None:
        self._reactor = reactor
        self._pool = pool
        self._long = DeferredLock()

    def run(self, function: Callable[..., T], *arguments: object) -> Deferred[T]:
        """Call ``function`` in a thread, beside other work."""
        pool = self._pool or self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, in_short_turns(function), *arguments)

    def run_long(self, function: Callable[..., T], *arguments: object) -> Deferred[T]:
        """As :meth:`run`, for work that takes long or much memory: one call at a time.

        The reactor's thread releases the interpreter at each system call, and then waits for every thread
        that computes.
        """
        return self._long.run(self.run, function, *arguments)
