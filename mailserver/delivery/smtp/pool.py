"""The connections to each next hop: at most a number of them, used again for the next message.

An attempt waits for its turn, then gets an idle connection or the permission to open one. When no host of a
next hop takes mail, all attempts that wait for it get the same outcome.
"""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailserver.delivery.smtp.connections import RelayConnection
from mailserver.delivery.smtp.hosts import NoHost
from mailserver.delivery.smtp.next_hop import NextHop
from mailserver.mail import outcome

KEPT = 5.0  # seconds that an idle connection to an MX host is kept
KEPT_BY_ROUTE = 30.0  # seconds, for a host that the configuration names
MESSAGES = 500  # on one connection


class ConnectionPool:
    """The connections to all next hops."""

    def __init__(self, reactor: IReactorTime, limit: Callable[[], int]) -> None:
        """``limit`` returns the maximum number of connections to one next hop."""
        self._reactor = reactor
        self._limit = limit
        self._hops: dict[NextHop, HopConnections] = {}

    def of(self, hop: NextHop) -> "HopConnections":
        """The connections to ``hop``. Call ``acquire`` at once."""
        connections = self._hops.get(hop)
        if connections is None:
            kept = KEPT if hop.by_mx else KEPT_BY_ROUTE
            connections = HopConnections(self._reactor, self._limit, kept, lambda: self._hops.pop(hop, None))
            self._hops[hop] = connections
        return connections

    def close(self) -> None:
        """End the idle connections."""
        for connections in tuple(self._hops.values()):
            connections.close_idle()


class HopConnections:
    """The connections to one next hop. Each :meth:`acquire` is followed by one :meth:`release`."""

    def __init__(
        self, reactor: IReactorTime, limit: Callable[[], int], kept: float, unused: Callable[[], object]
    ) -> None:
        """``kept``: the seconds that an idle connection is kept. ``unused`` is called when all are gone."""
        self._reactor = reactor
        self._limit = limit
        self._kept = kept
        self._unused = unused
        self._taken = 0  # by attempts, with a connection or the permission to open one
        self._idle: list[tuple[RelayConnection, float]] = []  # with the time since when
        self._waiting: deque[Deferred[RelayConnection | None]] = deque()
        self._timer: IDelayedCall | None = None

    def acquire(self) -> "RelayConnection | Deferred[RelayConnection | None] | None":
        """Wait for a turn. Returns a connection, which may have ended, or None for permission to open one.

        Fails with :class:`NoHost` if another attempt finds meanwhile that no host takes mail.
        """
        if self._idle:
            self._taken += 1
            return self._idle.pop()[0]
        if self._taken < self._limit():
            self._taken += 1
            return None
        waiting: Deferred[RelayConnection | None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def release(self, connection: RelayConnection | None) -> None:
        """End a turn. ``connection`` is kept for the next message if it can take one."""
        if connection is not None and (not connection.idle or connection.messages >= MESSAGES):
            connection.quit()
            connection = None
        if self._waiting and self._taken <= self._limit():
            self._waiting.popleft().callback(connection)
            return
        self._taken -= 1
        if connection is not None:
            self._idle.append((connection, self._reactor.seconds()))
            self._set_timer()
        self._check_unused()

    def unreachable(self, result: outcome.Deferred) -> None:
        """No host takes mail: tell all attempts that wait."""
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            one.errback(NoHost(result))

    def close_idle(self) -> None:
        """End the idle connections."""
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.quit()
        self._check_unused()

    def _set_timer(self) -> None:
        if self._timer is None and self._idle:
            delay = self._idle[0][1] + self._kept - self._reactor.seconds()
            self._timer = self._reactor.callLater(max(delay, 0.0), self._look)

    def _look(self) -> None:
        """End the connections that were idle for too long."""
        self._timer = None
        old = self._reactor.seconds() - self._kept
        ended = [connection for connection, since in self._idle if since <= old]
        self._idle = [each for each in self._idle if each[1] > old]
        for connection in ended:
            connection.quit()
        self._set_timer()
        self._check_unused()

    def _check_unused(self) -> None:
        if not (self._taken or self._idle or self._waiting):
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._unused()
