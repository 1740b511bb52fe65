"""From the endpoint strings of the configuration to Twisted's endpoints, with other defaults.

A port that does not name its ``backlog=`` gets the longest queue that the system allows, so that a burst of
clients is not left without an answer. A unix socket gets no lock file, which would outlive a killed server:
:mod:`mailserver.net.unix_sockets` has another way. A unix socket that was handed over stays as it is.
"""

import socket
from pathlib import Path
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer


def longest_backlog() -> int:
    """The largest number of connections that the system lets wait to be accepted."""
    try:
        return int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return socket.SOMAXCONN


def server_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """The endpoint that ``text`` describes. Raises whatever Twisted raises if it describes none."""
    defaults = f":backlog={longest_backlog()}:" + ("lockfile=0:" if text.startswith("unix:") else "")
    try:
        # The last of two arguments with one name is in force, so those in the text are.
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text.replace(":", defaults, 1))
    except TypeError:
        # This kind has no such arguments, or the text has them by position.
        endpoint = serverFromString(reactor, text)
    if isinstance(endpoint, AdoptedStreamServerEndpoint) and endpoint.addressFamily == socket.AF_UNIX:
        return _HandedOver(reactor, endpoint.fileno)
    return endpoint


@implementer(IStreamServerEndpoint)
class _HandedOver:
    """A unix socket that listens already, by its file descriptor."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor

    def listen(self, factory: IProtocolFactory) -> "Deferred[IListeningPort]":
        try:
            port: Any = _HandedOverPort(socket.socket(fileno=self._descriptor), factory, self._reactor)
            port.startListening()
        except OSError:
            return fail()
        return succeed(port)


class _HandedOverPort(unix.Port):
    """Twisted's own changes the mode of the file and the backlog. At its end it removes the file and shuts
    the socket down, which then accepts nobody for the next server either.
    """

    _shouldShutdown = False

    def __init__(self, listening: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        unix.Port.__init__(self, listening.getsockname(), factory, reactor=reactor)
        listening.setblocking(False)
        self.socket = listening

    def startListening(self) -> None:
        port: Any = self
        port.factory.doStart()
        port.connected = True
        port.fileno = self.socket.fileno
        port.numberAccepts = 100
        port.startReading()

    def connectionLost(self, reason: Failure) -> None:
        tcp.Port.connectionLost(self, reason)
