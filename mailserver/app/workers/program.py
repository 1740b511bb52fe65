"""The program of a worker: ``python -m mailserver.app.workers NUMBER DESCRIPTOR VERSION``.

The supervisor starts it, and must be of the same version: the package may have been updated meanwhile. The
descriptor is that of the socket to the supervisor, whose first frame is the start order. The worker answers
it when it serves. It stops when the supervisor says so, when it gets SIGTERM or SIGINT, and when the
supervisor has ended.
"""

import os
import signal
import socket
from collections.abc import Sequence
from typing import Any, cast

from twisted.cred.strcred import makeChecker
from twisted.logger import globalLogBeginner

from mailserver import __version__
from mailserver.app.build import make_service
from mailserver.app.early import prepare
from mailserver.app.memory import MemoryTrimmer
from mailserver.app.process import freeze_start, use_all_descriptors, use_steady_clock
from mailserver.app.service import MailService
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
from mailserver.app.workers.remote_limits import LimitsLine, RemoteLimits, RemoteLogins
from mailserver.cluster.conversation import Conversation
from mailserver.cluster.frames import SUPERVISOR, Frame, answer, content, failure
from mailserver.cluster.interfaces import FIRST
from mailserver.cluster.wire import FrameProtocol, adopt, receive_now, send_now
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.durable.lock import NameLocks
from mailserver.errors import CannotStart, ConfigurationError, StorageError
from mailserver.events.base import report
from mailserver.events.cluster import SupervisorGone
from mailserver.interfaces import IReactor
from mailserver.logs.destination import log_observer
from mailserver.store.locks import MailboxLocks

# As for twistd in the foreground.
STANDARD_OUTPUT = {"nodaemon": True, "logfile": "-", "logger": None, "syslog": False}


class SupervisorSocket:
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
        adopt(reactor, self._end, protocol)
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
    if arguments[2] != __version__:
        text = f"its version is {__version__}, but the server's is {arguments[2]}: restart the server"
        send_now(end, failure(SUPERVISOR, START, CannotStart(text)))
        return 1
    frame = receive_now(end)
    if frame is None:
        return 1  # the supervisor has ended
    order: StartOrder = content(frame)[1]
    try:
        run(order, end)
    except (CannotStart, ConfigurationError) as error:
        text = str(error).removeprefix(f"{order.path}: ")  # the supervisor adds it
        send_now(end, failure(SUPERVISOR, START, CannotStart(text)))
        return 1
    return 0


def run(order: StartOrder, end: socket.socket) -> None:
    """Serve until the end. Raises :class:`~mailserver.errors.CannotStart`, and
    :class:`~mailserver.errors.ConfigurationError`, before it has answered the order."""
    from twisted.internet import reactor as chosen

    use_steady_clock(chosen)
    use_all_descriptors()
    reactor = cast(IReactor, chosen)
    observer = log_observer(reactor, STANDARD_OUTPUT, order.log, order.config.hostname, order.path)
    assert observer is not None
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    for descriptor in order.descriptors:
        os.set_inheritable(descriptor, False)
    channel = SupervisorSocket(end)
    others = [number for number in range(FIRST, order.count + 1) if number != order.number]
    peers = Conversation(order.number, others, channel.send)
    service = _service(order, reactor, peers)
    service.privilegedStartService()
    service.startService()
    MemoryTrimmer(reactor).startService()  # type: ignore[no-untyped-call]
    ending = _Ending(order, reactor)
    peers.serve(STOP, lambda _: ending.asked())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: reactor.callFromThread(ending.asked))
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    freeze_start()
    send_now(end, answer(SUPERVISOR, START, None))
    if receive_now(end) is None:
        return  # the supervisor has ended

    def lost() -> None:
        peers.lost(StorageError("the supervisor has ended"))
        ending.supervisor_gone()

    channel.attach(reactor, FrameProtocol(peers.received, lost))
    cast(Any, reactor).run(installSignalHandlers=False)


class _Ending:
    """The end of a worker."""

    def __init__(self, order: StartOrder, reactor: IReactor) -> None:
        self._order = order
        self._reactor = reactor
        self._begun = False

    def asked(self) -> None:
        """The supervisor stops all workers, or somebody stops this one, which then starts again."""
        if not self._begun:
            for each in self._order.sockets.values():
                os.close(each.descriptor)
            self._stop()

    def supervisor_gone(self) -> None:
        """The supervisor has ended by itself. The inherited sockets stay open until the end, so that no
        client is refused while another worker serves."""
        if not self._begun:
            report(SupervisorGone(worker=self._order.number))
            self._stop()

    def _stop(self) -> None:
        self._begun = True
        self._reactor.stop()


def _service(order: StartOrder, reactor: IReactor, peers: Conversation) -> MailService:
    configs = iter([order.config])

    def read() -> Config:
        return next(configs, None) or load(order.path, os.environ, order.overrides)

    line = LimitsLine(socket.socket(fileno=order.limits))
    place = WorkerPlace(
        peers=peers,
        limits=RemoteLimits(order.config.limits, line),
        logins=RemoteLogins(line),
        locks=MailboxLocks(NameLocks(order.lock)),
        sockets=order.sockets,
        control=None if order.control is None else socket.socket(fileno=order.control),
        kept=order.kept,
        in_force=lambda config: peers.tell(SUPERVISOR, IN_FORCE, config),
        drained=lambda: peers.ask(SUPERVISOR, DRAINED, order.number),
    )
    checkers = [makeChecker(text) for text in order.checkers]
    service = make_service(reactor, order.path, read, checkers, external=order.external, place=place)
    if order.number == FIRST:
        peers.serve(RELOAD, lambda _: service.reload())
        service.observe_reloads(ReloadNotes(peers))
    return service
