"""Connections to the database, and what happens when it cannot be reached.

After a failed attempt to connect, further ones fail at once for a while, which doubles with each failure.
Methods may be called in any thread. They block, and raise ``OSError``.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mailserver.errors import ConfigurationError
from mailserver.events.base import report
from mailserver.events.database import DatabaseBack, DatabaseLost
from mailserver.postgresql.errors import DatabaseConnection, os_error

AT_ONCE = 8  # connections for reading, beside the one of the writer
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts to connect
_EXAMPLE = 'a URL such as "postgresql://user:password@host/database"'
# A peer that is silent counts as gone; a URL may set other values.
_DEFAULTS: dict[str, object] = {
    "application_name": "mailserver",
    "connect_timeout": 5,  # seconds, as below
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms
}

_T = TypeVar("_T")


class Connections:
    """The connections to the database with this URL."""

    def __init__(self, url: str, now: Callable[[], float] = time.monotonic) -> None:
        """Raises :class:`~mailserver.errors.ConfigurationError`, whose text does not have the URL."""
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error:
            raise ConfigurationError(
                ["storage.url: the library of PostgreSQL cannot read the URL; allowed: " + _EXAMPLE]
            ) from None
        self._parameters: dict[str, Any] = {**_DEFAULTS, **parts, "client_encoding": "UTF8"}
        self._password = str(parts.get("password") or "")
        self._now = now
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._idle: list[DatabaseConnection] = []
        self._error: psycopg.Error | None = None
        self._pause = FIRST_PAUSE
        self._next = 0.0
        self._bound: tuple[int, DatabaseConnection] | None = None  # with the id of a thread

    def connect(self) -> DatabaseConnection:
        """A new connection, which the caller closes. Each statement is a transaction unless one begins."""
        with self._lock:
            if self._error is not None and self._now() < self._next:
                raise self._hidden(self._error)
        try:
            connection = DatabaseConnection.connect(
                autocommit=True, prepare_threshold=None, **self._parameters
            )
        except psycopg.Error as error:
            raise self._failed(error) from None
        with self._lock:
            was_lost, self._error, self._pause = self._error is not None, None, FIRST_PAUSE
        if was_lost:
            report(DatabaseBack())
        return connection

    def _failed(self, error: psycopg.Error) -> OSError:
        hidden = self._hidden(error)
        with self._lock:
            is_news, self._error = self._error is None, error
            self._next = self._now() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if is_news:
            report(DatabaseLost(error=hidden.strerror))
        return hidden

    def _hidden(self, error: psycopg.Error) -> OSError:
        """The error without the password, whatever a library writes into its texts."""
        found = os_error(error)
        if self._password and self._password in str(found.strerror):
            return OSError(found.errno, "PostgreSQL: cannot connect")
        return found

    def run(self, work: Callable[[DatabaseConnection], _T]) -> _T:
        """Do work on a connection of the pool. It is done again on a new one if the connection was broken
        before, or breaks on the way."""
        with self._places:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is not None:
                try:
                    return self._work(connection, work)
                except psycopg.OperationalError as error:
                    if not connection.closed:
                        raise os_error(error) from error
                    self.forget()  # the others are likely to be broken, too
                except psycopg.Error as error:
                    raise os_error(error) from error
            try:
                return self._work(self.connect(), work)
            except psycopg.Error as error:
                raise os_error(error) from error

    def bind(self, connection: DatabaseConnection | None) -> None:
        """Let ``read`` in this thread use a connection, which is in a transaction; None ends that."""
        self._bound = None if connection is None else (threading.get_ident(), connection)

    def read(self, work: Callable[[DatabaseConnection], _T]) -> _T:
        """Do work that changes nothing, as ``run`` does.

        A thread that has a transaction must not wait for a second connection: other transactions may have all
        of them, and wait for the locks of this one.
        """
        bound = self._bound
        if bound is None or bound[0] != threading.get_ident():
            return self.run(work)
        try:
            return work(bound[1])
        except psycopg.Error as error:
            raise os_error(error) from error

    def _work(self, connection: DatabaseConnection, work: Callable[[DatabaseConnection], _T]) -> _T:
        try:
            return work(connection)
        except BaseException:
            if not connection.closed and connection.info.transaction_status:
                connection.close()  # within a transaction, which the server then rolls back
            raise
        finally:
            if not connection.closed:
                with self._lock:
                    self._idle.append(connection)

    def forget(self) -> None:
        """Close all idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
