"""Listening sockets that the supervisor binds and all workers accept from."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from mailserver.app.workers.order import InheritedSocket
from mailserver.config.keys.top_level import Config
from mailserver.durable.lock import DataLock
from mailserver.errors import CannotStart
from mailserver.interfaces import IReactor
from mailserver.net.endpoints import HandedOverPort, server_endpoint
from mailserver.net.listener import Listener

# The kinds of endpoints whose sockets accept connections without a wrapper.
SHARED = ("tcp", "tcp6", "unix", "systemd")


@implementer(IStreamServerEndpoint)
class InheritedEndpoint:
    """Listens on an inherited socket. Its file, if it has one, is that of the supervisor."""

    def __init__(self, reactor: IReactor, inherited: InheritedSocket) -> None:
        self._reactor: Any = reactor
        self._inherited = inherited

    def listen(self, factory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """See ``IStreamServerEndpoint``."""
        descriptor, family = self._inherited.descriptor, self._inherited.family
        try:
            if family == socket.AF_UNIX:
                port: Any = HandedOverPort(
                    socket.fromfd(descriptor, family, socket.SOCK_STREAM), factory, self._reactor
                )
                port.startListening()
            else:
                port = self._reactor.adoptStreamPort(descriptor, family, factory)
        except OSError:
            return fail()
        return succeed(port)


class InheritedLock(DataLock):
    """The lock of the data directory that the supervisor holds, and its workers with it."""

    def __init__(self) -> None:
        """There is nothing to open."""

    def acquire(self) -> None:
        """The lock is held already."""

    def release(self) -> None:
        """The lock ends with the process."""


class AcceptsNobody(Factory):
    """The factory of the supervisor's listeners, which never accept a connection."""

    noisy = False
    stopping = False

    def logPrefix(self) -> str:
        """The name in the log of Twisted."""
        return "supervisor"

    def __init__(self, reactor: IReactor) -> None:
        self.reactor = reactor

    def stop(self, grace: float) -> "Deferred[None]":
        """There are no connections."""
        return succeed(None)


class BoundListeners(MultiService):
    """Binds the sockets of all listeners, and accepts nothing."""

    def __init__(self, config: Config, reactor: IReactor, remove: Callable[[Path], object]) -> None:
        """``remove`` removes the file of a unix socket."""
        MultiService.__init__(self)
        self._config = config
        for number, listen in enumerate(config.listen):
            listener = Listener(
                listen.protocol,
                listen.tls,
                f'listen[{number + 1}].endpoint: cannot listen on "{listen.endpoint}"',
                server_endpoint(reactor, listen.endpoint),
                AcceptsNobody(reactor),
                0.0,
                remove,
            )
            MultiService.addService(self, listener)

    def privilegedStartService(self) -> None:
        """Bind. Raises :class:`~mailserver.errors.CannotStart`."""
        MultiService.privilegedStartService(self)
        self._rest()

    def startService(self) -> None:
        """Bind, unless that is done."""
        MultiService.startService(self)
        self._rest()

    def _rest(self) -> None:
        for listener in self:
            listener.port.stopReading()
            # The sockets are those of the workers, too.
            listener.port._shouldShutdown = False

    def where(self) -> list[dict[str, object]]:
        """The address of each listener, as in the ready file."""
        return [listener.where() for listener in self]

    def sockets(self) -> Mapping[int, InheritedSocket]:
        """The bound sockets, by the numbers of their listeners from 0."""
        found = {}
        for number, listener in enumerate(self):
            port = listener.port
            if not hasattr(port, "socket"):
                raise CannotStart(
                    f"listen[{number + 1}].endpoint: several workers cannot share this endpoint"
                )
            found[number] = InheritedSocket(port.fileno(), port.socket.family)
        return found
