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

NODE = "node "
"""The name of the lease of a server, before the id of its node."""


class PostgreSQLDatabase:
    """A database, opened by several engines of one server.

    ``node`` gives the id of the data directory. ``fence`` is that of the lease of the server.
    """

    def __init__(self, connections: Connections, node: Callable[[], str]) -> None:
        self.connections = connections
        self.leases = Leases(connections)
        self._node = node
        self.group = GroupTransaction(connections, lambda: (self._lease, self.fence))
        self._lock = threading.Lock()
        self._users = 0
        self.fence = 0

    def open(self) -> None:
        """Open the database for one more engine. Blocks.

        Raises ``OSError``, and :class:`~mailserver.errors.StorageRefused` if it must not be used.
        """
        with self._lock:
            if not self._users:
                prepare(self.connections)
                self.leases.node = self._node()
                self.fence = self._take_lease()
            self._users += 1

    @property
    def _lease(self) -> str:
        return NODE + self.leases.node

    def _take_lease(self) -> int:
        self.leases.forget()
        fence = self.leases.take(self._lease)
        assert fence is not None, "a node may take its own lease"
        return fence

    def close(self) -> None:
        """Close the database for one engine; the last one releases the lease. Blocks."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        self.group.close()
        with suppress(OSError):  # then it ends by itself, and the connections have reported the error
            self.leases.release(self.fence)
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
