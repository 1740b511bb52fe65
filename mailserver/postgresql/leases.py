"""Leases: locks among servers on one database, which end by themselves if a server dies.

A lease belongs to a node and has a *fence*, a number that no other lease has. A heartbeat renews all leases
of this node. Whoever changes what a lease protects checks the fence in the same transaction: a server that
was asleep while another one took the lease over can change nothing. All times are those of the database.

A node may take its own leases again: its data directory is locked, so the process that had them has ended,
and within a process the caller knows what is in use.
"""

import threading
from secrets import randbits

from mailserver.events.base import report
from mailserver.events.database import LeaseLost
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import DatabaseConnection

LASTS = 30  # seconds
HEARTBEAT = 8.0  # seconds

_TAKE = (
    "INSERT INTO lease (name, node, fence, until)"
    " VALUES (%(name)s, %(node)s, %(fence)s, now() + %(lasts)s * interval '1 s')"
    " ON CONFLICT (name) DO UPDATE"
    " SET node = excluded.node, fence = excluded.fence, until = excluded.until, last = 0"
    " WHERE lease.until < now() OR lease.node = excluded.node"
)
_RENEW = "UPDATE lease SET until = now() + %s * interval '1 s' WHERE fence = ANY(%s) RETURNING fence"
_RELEASE = "DELETE FROM lease WHERE fence = ANY(%s)"
_FORGET = "DELETE FROM lease WHERE node = %s"
_OTHERS = "SELECT count(*) FROM lease WHERE starts_with(name, %s) AND node <> %s AND until > now()"
_HOLDS = "SELECT 1 FROM lease WHERE name = %s AND fence = %s FOR SHARE"


class Leases:
    """The leases of the node with the id ``node``. Methods may be called in any thread, block, and raise
    ``OSError``."""

    def __init__(self, connections: Connections, heartbeat: float = HEARTBEAT) -> None:
        self.node = ""
        self._connections = connections
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}  # by fence
        self._released: set[int] = set()  # the fences of those that may still be there
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def take(self, name: str) -> int | None:
        """Take a lease. Returns its fence, None if another node has the lease."""
        fence = randbits(62)
        values = {"name": name, "node": self.node, "fence": fence, "lasts": LASTS}
        if not self._connections.run(lambda connection: connection.execute(_TAKE, values).rowcount):
            return None
        with self._lock:
            self._names[fence] = name
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_all, name="leases", daemon=True)
                self._thread.start()
        return fence

    def forget(self) -> None:
        """Remove the leases that an earlier process of this node has left."""
        self._connections.run(lambda each: each.execute(_FORGET, (self.node,)))

    def release(self, fence: int) -> None:
        """Release a lease, if this node still has it. If that fails, a later heartbeat releases it."""
        with self._lock:
            self._names.pop(fence, None)
            self._released.add(fence)
        self._connections.run(lambda connection: connection.execute(_RELEASE, ([fence],)))
        with self._lock:
            self._released.discard(fence)

    def others(self, prefix: str) -> int:
        """The number of leases of other nodes whose names begin so."""
        row = self._connections.run(lambda each: each.execute(_OTHERS, (prefix, self.node)).fetchone())
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        """Stop the heartbeat. All leases have been released."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _renew_all(self) -> None:
        while not self._closed.wait(self._heartbeat):
            try:
                self.renew()
            except OSError:
                continue  # the connections have reported it; a lease that was lost is found by its fence

    def renew(self) -> None:
        """Renew all leases. One that another node has taken is reported, and is not renewed any more."""
        with self._lock:
            fences, released = list(self._names), list(self._released)
        if released:
            self._connections.run(lambda connection: connection.execute(_RELEASE, (released,)))
            with self._lock:
                self._released.difference_update(released)
        if not fences:
            return
        rows = self._connections.run(lambda each: each.execute(_RENEW, (LASTS, fences)).fetchall())
        for fence in set(fences).difference(fence for (fence,) in rows):
            with self._lock:
                name = self._names.pop(fence, None)
            if name is not None:  # it was not released meanwhile
                report(LeaseLost(name=name))


def holds(connection: DatabaseConnection, name: str, fence: int) -> bool:
    """Whether the lease is still the one with this fence; if so, nobody takes it before the transaction ends.
    Raises ``psycopg.Error``."""
    return connection.execute(_HOLDS, (name, fence)).fetchone() is not None
