"""The program of a worker: ``python -m mailserver.app.workers NUMBER DESCRIPTOR``, started by the supervisor.

The descriptor is that of the socket to the supervisor, whose first frame is the start order. The worker answers
it when it serves. It stops when the supervisor says so, when it gets SIGTERM or SIGINT, and when the supervisor
has ended.
"""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from mailserver.app.early import prepare
from mailserver.app.workers.order import (
    DRAINED,
    IN_FORCE,
    RELOAD,
    RELOADED,
    RELOADING,
    START,
    STOP,
    StartOrder,
    WorkerPlace,
)
from mailserver.cluster.conversation import Conversation
from mailserver.cluster.frames import SUPERVISOR, Frame, answer, content, failure
from mailserver.cluster.interfaces import FIRST
from mailserver.cluster.wire import FrameProtocol, receive_now, send_now
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.errors import CannotStart, ConfigurationError, MailserverError, StorageError
from mailserver.events.base import report
from mailserver.events.cluster import SupervisorGone
from mailserver.interfaces import IReactor


class Channel:
    """The socket to the supervisor: frames sent before the reactor reads it wait."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._protocol: FrameProtocol | None = None
        self._waiting: list[Frame] = []

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        if self._protocol is None:
            self._waiting.append(frame)
        else:
            self._protocol.send(frame)

    def attach(self, reactor: Any, protocol: FrameProtocol) -> None:
        """Read the socket in the reactor from now on."""
        self._end.setblocking(False)
        reactor.adoptStreamConnection(
            self._end.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: protocol)
        )
        self._end.close()
        self._protocol = protocol
        for frame in self._waiting:
            protocol.send(frame)


class ReloadNotes:
    """Tells the supervisor of reloads."""

    def __init__(self, peers: Conversation) -> None:
        self._peers = peers

    def reloading(self) -> None:
        """See :class:`~mailserver.app.reload.ReloadObserver`."""
        self._peers.tell(SUPERVISOR, RELOADING)

    def reloaded(self, outcome: str) -> None:
        """See :class:`~mailserver.app.reload.ReloadObserver`."""
        self._peers.tell(SUPERVISOR, RELOADED, outcome)


def main(arguments: Sequence[str]) -> int:
    """Run a worker. Returns its exit status."""
    prepare()
    os.umask(0o077)
    end = socket.socket(fileno=int(arguments[1]))
    end.set_inheritable(False)
    frame = receive_now(end)
    if frame is None:
        return 1  # the supervisor has ended
    order: StartOrder = content(frame)[1]
    try:
        run(order, end)
    except (CannotStart, ConfigurationError) as error:
        send_now(end, failure(SUPERVISOR, START, CannotStart(str(error))))
        return 1
    return 0


def run(order: StartOrder, end: socket.socket) -> None:
    """Serve until the end. Raises :class:`~mailserver.errors.CannotStart`, and
    :class:`~mailserver.errors.ConfigurationError`, before it has answered the order."""
    from twisted.internet import reactor as chosen

    from mailserver.app.process import freeze_start, use_all_descriptors, use_steady_clock

    use_steady_clock(chosen)
    use_all_descriptors()
    reactor = cast(IReactor, chosen)
    _begin_log(order, reactor)
    descriptors = [order.limits, order.lock, *(each.descriptor for each in order.sockets.values())]
    for descriptor in descriptors if order.control is None else [*descriptors, order.control]:
        os.set_inheritable(descriptor, False)
    channel = Channel(end)
    others = [number for number in range(FIRST, order.count + 1) if number != order.number]
    peers = Conversation(order.number, others, channel.send)
    service = _service(order, reactor, peers)
    stop = _Stop(reactor, order)
    peers.serve(STOP, stop.asked)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    freeze_start()
    send_now(end, answer(SUPERVISOR, START, None))

    def lost() -> None:
        peers.lost(StorageError("the supervisor has ended"))
        stop.supervisor_gone()

    channel.attach(reactor, FrameProtocol(peers.received, lost))
    reactor.run()
