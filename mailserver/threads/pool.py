"""The only way to run a function in a thread.

:func:`run_in_thread` is for work that waits for a disk: it costs the least. :class:`Threads` is for work that
also computes for more than a few ms, and would delay the reactor's thread.
"""

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mailserver.threads.switching import with_short_switch_interval

T = TypeVar("T")


def run_in_thread(
    reactor: IReactorThreads, function: Callable[..., T], *arguments: object, pool: ThreadPool | None = None
) -> Deferred[T]:
    """Call ``function`` in a thread of ``pool``, by default the reactor's. For the reactor's thread."""
    return deferToThreadPool(reactor, pool or reactor.getThreadPool(), function, *arguments)


class Threads:
    """Threads for work that computes. It runs with a short switch interval (see ``switching``).

    ``pool`` is the reactor's by default. For the reactor's thread.
    """

    def __init__(self, reactor: IReactorThreads, pool: ThreadPool | None = None) -> None:
        self._reactor = reactor
        self._pool = pool
        self._long = DeferredLock()

    def run(self, function: Callable[..., T], *arguments: object) -> Deferred[T]:
        """Call ``function`` in a thread, beside other work."""
        return run_in_thread(self._reactor, with_short_switch_interval(function), *arguments, pool=self._pool)

    def run_long(self, function: Callable[..., T], *arguments: object) -> Deferred[T]:
        """Like :meth:`run`, for work that takes long or much memory: one call at a time.

        The reactor's thread waits longer at each system call if more threads compute.
        """
        return self._long.run(self.run, function, *arguments)
