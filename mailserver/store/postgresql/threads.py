"""Threads for the statements of the store.

They are apart from those of the reactor, which a database that does not answer would keep from other work.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.python.threadpool import ThreadPool

from mailserver.errors import storage_error
from mailserver.postgresql.connections import AT_ONCE, Connections
from mailserver.postgresql.errors import DatabaseConnection
from mailserver.threads.pool import run_in_thread

_T = TypeVar("_T")


class QueryThreads:
    """Runs work with the connections of a database. Its methods are called in the reactor's thread.

    Before the start, threads of the reactor do the work: for a program that only looks into the database.
    """

    def __init__(self, connections: Connections, reactor: IReactorThreads) -> None:
        self.connections = connections
        self._reactor = reactor
        self._pool = ThreadPool(0, AT_ONCE, "postgresql")

    def start(self) -> None:
        """Start. Threads come with the first work."""
        self._pool.start()

    def stop(self) -> None:
        """Finish the work that has begun."""
        self._pool.stop()

    def query(self, work: Callable[[DatabaseConnection], _T]) -> Deferred[_T]:
        """The result of work on a connection, which may be done twice if a connection breaks. Fails with
        :class:`~mailserver.errors.StorageError`."""
        return self.run(partial(self.connections.run, work))

    def run(self, function: Callable[[], _T]) -> Deferred[_T]:
        """The result of a function. Fails with :class:`~mailserver.errors.StorageError`, also instead of
        ``OSError``."""
        return Deferred.fromCoroutine(self._run(function))

    async def _run(self, function: Callable[[], _T]) -> _T:
        try:
            pool = self._pool if self._pool.started else None
            return await run_in_thread(self._reactor, function, pool=pool)
        except OSError as error:
            raise storage_error(error) from error
