"""Endpoints from the strings of the configuration, with defaults other than those of Twisted.

Without ``backlog=`` a port gets the longest queue that the system allows, for bursts of clients. A unix
socket gets no lock file, since that would outlive a killed server; :mod:`mailserver.net.unix_sockets`
removes stale sockets. An inherited unix socket is used unchanged.
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
    """The longest queue of connections that the system allows."""
    try:
        return int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return socket.SOMAXCONN


def server_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """The endpoint that ``text`` describes. Raises the exceptions of Twisted for an invalid text."""
    defaults = f":backlog={longest_backlog()}:" + ("lockfile=0:" if text.startswith("unix:") else "")
    try:
        # The last of two arguments with one name counts, so those in the text override the defaults.
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text.replace(":", defaults, 1))
    except TypeError:
        # This kind has no such arguments, or the text gives them by position.
        endpoint = serverFromString(reactor, text)
    if isinstance(endpoint, AdoptedStreamServerEndpoint) and endpoint.addressFamily == socket.AF_UNIX:
        return _HandedOver(reactor, endpoint.fileno)
    return endpoint


@implementer(IStreamServerEndpoint)
class _HandedOver:
    """An inherited unix socket that listens already, by its file descriptor."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor

    def listen(self, factory: IProtocolFactory) -> "Deferred[IListeningPort]":
        try:
            port: Any = HandedOverPort(socket.socket(fileno=self._descriptor), factory, self._reactor)
            port.startListening()
        except OSError:
            return fail()
        return succeed(port)


class HandedOverPort(unix.Port):
    """The port of an inherited socket. The port of Twisted would change the mode of the file and the
    backlog, and at its end remove the file and shut down the socket, which the next server could then not
    use.
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
