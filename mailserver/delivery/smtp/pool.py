"""The connections to each next hop: at most a number of them, used again for the next message.

An attempt waits for its turn, then gets an idle connection or the permission to open one. When no host of a
next hop takes mail, all attempts that wait for it get the same outcome. The limit of all connections counts
the idle ones, too: the one that is idle for the longest time makes room for a new one.
"""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailserver.config.keys.queue import QueueSection
from mailserver.delivery.smtp.connections import RelayConnection
from mailserver.delivery.smtp.hosts import NoHost
from mailserver.delivery.smtp.next_hop import NextHop
from mailserver.mail import outcome

KEPT = 5.0  # seconds that an idle connection to an MX host is kept
KEPT_BY_ROUTE = 30.0  # seconds, for a host that the configuration names
MESSAGES = 500  # on one connection
ROUNDING = 0.001  # seconds; a timer must not fire again and again for the last bit of a float


class ConnectionPool:
    """The connections to all next hops.

    ``taken`` is the number of those that attempts have, or may open. ``idle`` has the others, the one that is
    idle for the longest time first.
    """

    def __init__(self, reactor: IReactorTime, section: Callable[[], QueueSection]) -> None:
        """``section`` returns the section [queue] with the limits."""
        self.reactor = reactor
        self.section = section
        self.taken = 0
        self.idle: dict[RelayConnection, HopConnections] = {}
        self._hops: dict[NextHop, HopConnections] = {}

    def of(self, hop: NextHop) -> "HopConnections":
        """The connections to ``hop``. Call ``acquire`` at once."""
        connections = self._hops.get(hop)
        if connections is None:
            kept = KEPT if hop.by_mx else KEPT_BY_ROUTE
            connections = HopConnections(self, kept, lambda: self._hops.pop(hop, None))
            self._hops[hop] = connections
        return connections

    def make_room(self) -> None:
        """A connection is about to be opened, and is already counted: end idle ones over the limit."""
        while self.idle and self.taken + len(self.idle) > self.section().connections:
            connection, hop = next(iter(self.idle.items()))
            hop.end(connection)

    def close(self) -> None:
        """End the idle connections."""
        for connection, hop in tuple(self.idle.items()):
            hop.end(connection)


class HopConnections:
    """The connections to one next hop. Each :meth:`acquire` is followed by one :meth:`release`."""

    def __init__(self, pool: ConnectionPool, kept: float, unused: Callable[[], object]) -> None:
        """``kept``: the seconds that an idle connection is kept. ``unused`` is called when all are gone."""
        self._pool = pool
        self._reactor = pool.reactor
        self._kept = kept
        self._unused = unused
        self._taken = 0  # by attempts, with a connection or the permission to open one
        self._idle: dict[RelayConnection, float] = {}  # with the time since when
        self._waiting: deque[Deferred[RelayConnection | None]] = deque()
        self._timer: IDelayedCall | None = None

    def acquire(self) -> "RelayConnection | Deferred[RelayConnection | None] | None":
        """Wait for a turn. Returns a connection, which may have ended, or None for permission to open one.

        Fails with :class:`NoHost` if another attempt finds meanwhile that no host takes mail.
        """
        if self._idle:
            connection, _ = self._idle.popitem()
            del self._pool.idle[connection]
            self._take(1)
            return connection
        if self._taken < self._limit:
            self._take(1)
            self._pool.make_room()
            return None
        waiting: Deferred[RelayConnection | None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def release(self, connection: RelayConnection | None) -> None:
        """End a turn. ``connection`` is kept for the next message if it can take one."""
        if connection is not None and (not connection.idle or connection.messages >= MESSAGES):
            connection.quit()
            connection = None
        if self._waiting and self._taken <= self._limit:
            self._waiting.popleft().callback(connection)
            return
        self._take(-1)
        if connection is not None:
            self._idle[connection] = self._reactor.seconds()
            self._pool.idle[connection] = self
            self._set_timer()
        self._check_unused()

    def unreachable(self, result: outcome.Deferred) -> None:
        """No host takes mail: tell all attempts that wait."""
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            one.errback(NoHost(result))

    def end(self, connection: RelayConnection) -> None:
        """End an idle connection."""
        del self._idle[connection]
        del self._pool.idle[connection]
        connection.quit()
        self._check_unused()

    @property
    def _limit(self) -> int:
        return self._pool.section().connections_per_destination

    def _take(self, change: int) -> None:
        self._taken += change
        self._pool.taken += change

    def _set_timer(self) -> None:
        if self._timer is None and self._idle:
            since = next(iter(self._idle.values()))
            self._timer = self._reactor.callLater(
                max(since + self._kept - self._reactor.seconds(), 0.0), self._look
            )

    def _look(self) -> None:
        """End the connections that were idle for too long."""
        self._timer = None
        old = self._reactor.seconds() - self._kept + ROUNDING
        for connection in [each for each, since in self._idle.items() if since <= old]:
            self.end(connection)
        self._set_timer()

    def _check_unused(self) -> None:
        if not (self._taken or self._idle or self._waiting):
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._unused()
