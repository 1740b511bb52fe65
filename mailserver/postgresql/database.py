"""Opens a database for a server: the tables, the lease of the server, and the transaction of its writer."""

import threading
from collections.abc import Callable
from contextlib import suppress

from mailserver.errors import StorageRefused
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import DatabaseConnection, os_errors
from mailserver.postgresql.leases import Leases
from mailserver.postgresql.schema import migrate
from mailserver.postgresql.transaction import SYNCHRONOUS_COMMIT_OFF, GroupTransaction

SERVER = "server"
"""The lease of the server that uses the database. The queue cannot be shared yet."""

_REMAINING = (
    "SELECT node, greatest(1, ceil(extract(epoch FROM until - now())))::int FROM lease WHERE name = %s"
)


class PostgreSQLDatabase:
    """A database, opened by several engines of one server. ``node`` gives the id of the data directory."""

    def __init__(self, connections: Connections, node: Callable[[], str]) -> None:
        self.connections = connections
        self.leases = Leases(connections)
        self._node = node
        self.group = GroupTransaction(connections, lambda: (SERVER, self._fence))
        self._lock = threading.Lock()
        self._users = 0
        self._fence = 0

    def open(self) -> None:
        """Open the database for one more engine. Blocks.

        Raises ``OSError``, and :class:`~mailserver.errors.StorageRefused` if it must not be used.
        """
        with self._lock:
            if not self._users:
                prepare(self.connections)
                self.leases.node = self._node()
                self._fence = self._take_over()
            self._users += 1

    def _take_over(self) -> int:
        fence = self.leases.take(SERVER)
        if fence is not None:
            return fence
        rows = self.connections.run(lambda each: each.execute(_REMAINING, (SERVER,)).fetchall())
        node, seconds = rows[0] if rows else ("unknown", 1)
        raise StorageRefused(
            f"another server uses the database (node {node}); if it has ended, its lease ends in {seconds} s"
        )

    def close(self) -> None:
        """Close the database for one engine; the last one releases the lease. Blocks."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        self.group.close()
        with suppress(OSError):  # then it ends by itself, and the connections have reported the error
            self.leases.release(SERVER, self._fence)
        self.leases.close()
        self.connections.forget()


def prepare(connections: Connections) -> None:
    """Check a database, and create or convert its tables. Blocks.

    Raises ``OSError``, and :class:`~mailserver.errors.StorageRefused` if it must not be used.
    """
    connections.run(_prepare)


def _prepare(connection: DatabaseConnection) -> None:
    with os_errors():
        settings = {
            name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            for name in ("synchronous_commit", "server_encoding")
        }
        if settings["synchronous_commit"] == ("off",):
            raise StorageRefused(SYNCHRONOUS_COMMIT_OFF)
        if settings["server_encoding"] != ("UTF8",):
            raise StorageRefused("the database has another encoding than UTF8")
        migrate(connection)
