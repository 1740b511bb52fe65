"""The transaction of the thread that commits: mailboxes and spool add their changes to the same one.

The store writes the messages of a group, then the spool adds its rows and commits both together. There is one
sync of the database's log for a group, and no moment when a message is only in one of the two.
"""

import errno
import time
from collections.abc import Callable
from secrets import randbits

import psycopg

from mailserver.events.base import report
from mailserver.events.database import CommitConfirmed
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import CommitUnknown, DatabaseConnection, os_error, os_errors
from mailserver.postgresql.leases import LASTS

SYNCHRONOUS_COMMIT_OFF = "the database has synchronous_commit = off, which loses accepted mail; set it to on"
CERTAIN_WITHIN = 5.0  # seconds to learn the outcome of a commit whose answer is lost
_LOOK_AGAIN = 0.05  # seconds

# A server that vanishes must not keep its locks for longer, nor wait for those of another that has.
LIMITS = "SET LOCAL idle_in_transaction_session_timeout = '20s'; SET LOCAL lock_timeout = '25s'"
BEGIN = f"BEGIN; {LIMITS}"
_MARK = (
    "UPDATE lease SET last = %s, until = greatest(until, now() + %s * interval '1 s')"
    " WHERE name = %s AND fence = %s"
    " RETURNING current_setting('synchronous_commit')"
)
# It waits for a transaction that is still in progress.
_LAST = "SELECT last, fence FROM lease WHERE name = %s FOR UPDATE"
_WAIT = "SET LOCAL lock_timeout = '3s'"


class GroupTransaction:
    """One transaction at a time on a connection of its own. For one thread.

    ``lease`` gives the name and the fence of the lease without which nothing may be committed.
    """

    def __init__(self, connections: Connections, lease: Callable[[], tuple[str, int]]) -> None:
        self._connections = connections
        self._lease = lease
        self._connection: DatabaseConnection | None = None
        self._begun = False
        self._write: Callable[[DatabaseConnection], None] | None = None
        self._committed: Callable[[], None] | None = None
        self._last = 0
        self.is_staged = False
        self.outcome_unknown = False

    def begin(self) -> DatabaseConnection:
        """The connection within the transaction, which begins unless it has begun. Raises ``OSError``."""
        if self._begun:
            assert self._connection is not None
            return self._connection
        if self._connection is None or not self._try_begin(self._connection):
            self._connection = self._connections.connect()
            with os_errors():
                self._connection.execute(BEGIN)
        self._begun = True
        self._connections.bind(self._connection)
        return self._connection

    def _try_begin(self, connection: DatabaseConnection) -> bool:
        """Begin on a connection that may have broken since the last transaction."""
        try:
            connection.execute(BEGIN)
        except psycopg.Error:
            connection.close()
            self._connection = None
            return False
        return True

    def stage(
        self, write: Callable[[DatabaseConnection], None], committed: Callable[[], None]
    ) -> DatabaseConnection:
        """Begin a group: call ``write`` with its connection before the commit, and ``committed`` after it."""
        self.rollback()
        connection = self.begin()
        self._write, self._committed = write, committed
        self.is_staged = True
        return connection

    def take_over(self) -> None:
        """Go on with the changes that were staged; without them, drop what was left over."""
        if not self.is_staged:
            self.rollback()
        self.is_staged = False

    def rollback(self) -> None:
        """End the transaction, if one has begun, without its changes."""
        begun, connection = self._begun, self._connection
        self._end()
        if begun and connection is not None:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                connection.close()
                self._connection = None

    def _end(self) -> None:
        self._connections.bind(None)
        self._begun = self.is_staged = False
        self._write = self._committed = None

    def commit(self) -> None:
        """Commit the transaction, if one has begun.

        Raises ``OSError``; then the changes are not made. Only after :class:`CommitUnknown` they may be, and
        ``outcome_unknown`` is true until the next commit.
        """
        if not self._begun:
            return
        connection, number = self._connection, randbits(62)
        assert connection is not None
        try:
            with os_errors():
                if self._write is not None:
                    self._write(connection)
                name, fence = self._lease()
                row = connection.execute(_MARK, (number, LASTS, name, fence)).fetchone()
            if row is None:
                raise OSError(errno.EIO, "another server uses the database with the id of this one")
            if row == ("off",):
                raise OSError(errno.EIO, SYNCHRONOUS_COMMIT_OFF)
        except BaseException:
            self.rollback()
            raise
        committed = self._committed
        self._end()
        self.outcome_unknown = False
        try:
            status = connection.execute("COMMIT").statusmessage
        except psycopg.Error as error:
            if not isinstance(error, psycopg.OperationalError):
                raise os_error(error) from error  # the database has rolled back
            connection.close()
            self._connection = None
            self._ask(name, fence, number, error)
        else:
            if status != "COMMIT":
                raise OSError(errno.EIO, f"PostgreSQL: {status} instead of COMMIT")
        self._last = number
        if committed is not None:
            committed()

    def _ask(self, name: str, fence: int, number: int, error: psycopg.Error) -> None:
        """Ask the database about a commit whose answer is lost. Raises ``OSError`` unless it was complete.

        The number of a transaction (``pg_xact_status``) would not do: after a crash another transaction may
        have the number of one that was lost.
        """
        end = time.monotonic() + CERTAIN_WITHIN
        while time.monotonic() < end:
            try:
                connection = self._connections.connect()
                with os_errors(), connection, connection.transaction():
                    connection.execute(_WAIT)
                    row = connection.execute(_LAST, (name,)).fetchone()
            except OSError:
                row = None
            if row is not None and row[0] == number:
                report(CommitConfirmed())
                return
            if row == (self._last, fence):
                raise os_error(error) from error
            time.sleep(_LOOK_AGAIN)  # not known yet, or the database cannot be reached
        self.outcome_unknown = True
        raise CommitUnknown(*os_error(error).args) from error

    def close(self) -> None:
        """Roll back, and close the connection."""
        self.rollback()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
