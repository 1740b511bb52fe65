"""Ports that pause accepting connections while file descriptors are nearly exhausted.

Without this, a port accepts connections until no descriptor is left, and no message can be stored. Twisted
then accepts and closes each new connection, and loops if its spare descriptor is also in use. Here a port
pauses earlier: new clients wait in the queue of the kernel, and the remaining descriptors are for mail.
"""

import errno
import os
import resource
import socket
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime
from twisted.internet.tcp import Port

from mailserver.events.base import report
from mailserver.events.connections import AcceptingPaused

SPARE = 64  # descriptors left for files; a quarter of the limit where that is less
PAUSE = 0.25  # seconds until a paused port checks again
LOG_INTERVAL = 60.0  # seconds between two log lines for one port
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def spare_descriptors(port: IListeningPort, reactor: IReactorTime) -> None:
    """Make a stream port pause while descriptors are nearly exhausted. Other ports do not change."""
    if isinstance(port, Port):
        port.socket = _SparingSocket(port, reactor)


class _SparingSocket:
    """The socket of a port, with its own ``accept`` and ``close``.

    A new descriptor is the lowest free one (POSIX, "File Descriptor Allocation"). So a descriptor close to
    the limit means that all lower ones are in use.
    """

    def __init__(self, port: Any, reactor: IReactorTime) -> None:
        self._port = port
        self._reactor = reactor
        self._socket: socket.socket = port.socket
        self._pausing: IDelayedCall | None = None
        self._next_log = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """As ``socket.accept``. During a pause it raises BlockingIOError."""
        if self._pausing is not None:
            raise BlockingIOError(errno.EAGAIN, "accepting pauses")
        try:
            client, address = self._socket.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self._pause()
            raise BlockingIOError(errno.EAGAIN, "accepting pauses") from error
        if _nearly_exhausted(client.fileno()):
            self._pause()
        return client, address

    def close(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()
        self._socket.close()

    def _pause(self) -> None:
        self._port.stopReading()
        self._pausing = self._reactor.callLater(PAUSE, self._check_again)
        now = self._reactor.seconds()
        if now >= self._next_log:
            self._next_log = now + LOG_INTERVAL
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            report(AcceptingPaused(port=self._port.getHost(), limit=limit))

    def _check_again(self) -> None:
        try:
            probe = os.dup(self._socket.fileno())
        except OSError:
            short = True
        else:
            os.close(probe)
            short = _nearly_exhausted(probe)
        if short:
            self._pausing = self._reactor.callLater(PAUSE, self._check_again)
            return
        self._pausing = None
        if not self._port.disconnecting:
            self._port.startReading()


def _nearly_exhausted(descriptor: int) -> bool:
    """Whether the number of a new descriptor shows that few are left."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit != resource.RLIM_INFINITY and descriptor >= limit - min(SPARE, limit // 4)
