"""The supervisor of the workers: starts them, restarts one that has ended, and stops all of them in order.

It serves no client. It holds the ports, the lock of the data directory, the control socket, and the counts of
all limits, so that a worker may end at any time.
"""

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall

from mailserver.app import data
from mailserver.app.reload import ReloadObserver
from mailserver.app.status import WORKERS, WorkerStatus
from mailserver.app.tls import KeptPairs
from mailserver.app.workers.child import WorkerChild
from mailserver.app.workers.inherited import BoundListeners
from mailserver.app.workers.order import (
    DRAINED,
    IN_FORCE,
    RELOAD,
    RELOADED,
    RELOADING,
    START,
    STOP,
    StartOrder,
)
from mailserver.app.workers.shared_limits import SharedLimits
from mailserver.cluster.frames import SUPERVISOR, Frame, FrameKind, answer, content
from mailserver.cluster.interfaces import FIRST
from mailserver.cluster.notices import KILL
from mailserver.cluster.switchboard import Switchboard
from mailserver.config.keys.log import LogSection
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import SOCKET, CommandOutcome
from mailserver.control.server import control_socket
from mailserver.durable.disk import Disk
from mailserver.durable.lock import DataLock
from mailserver.errors import CannotStart, DataInUse, storage_error
from mailserver.events.base import report
from mailserver.events.cluster import WorkerEnded, WorkerStarted
from mailserver.events.server import ListenerAddresses, ServerReady
from mailserver.interfaces import IReactor

SETTLED = 60.0  # seconds after which a worker counts as one that works
FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0  # seconds until a worker starts again


@attrs.define(eq=False)
class _Running:
    """A worker that runs: ``since`` when, and ``delay`` until the next start if it ends soon. ``error`` is
    the reason why it could not start."""

    child: WorkerChild
    since: float
    delay: float
    is_ready: bool = False
    error: str = ""
    send: Callable[[Frame], None] = attrs.field(init=False)


class Supervisor(MultiService):
    """The server as a service, with workers in processes of their own."""

    def __init__(
        self,
        path: Path,
        config: Config,
        count: int,
        reactor: IReactor,
        log: Callable[[bytes], object] | None,
        *,
        log_section: LogSection,
        overrides: Mapping[str, str],
        external: Mapping[str, str],
        checkers: tuple[str, ...],
        kept: KeptPairs,
    ) -> None:
        """``count`` workers serve the configuration of the file ``path``. ``log`` takes the lines of their
        logs that ``log_section`` sends to standard output. For the rest see
        :class:`~mailserver.app.workers.order.StartOrder`.
        """
        MultiService.__init__(self)
        self.config = config
        self._path = path
        self._count = count
        self._reactor = reactor
        self._log = log
        self._log_section = log_section
        self._external = external
        self._overrides = overrides
        self._checkers = checkers
        self._kept = kept
        self._folder = str(Path.cwd())  # twistd changes it later
        self._disk = Disk()
        self._lock: DataLock = data.data_lock(config.data)
        self._limits = SharedLimits(config.limits, reactor.seconds)
        self._switchboard = Switchboard(range(FIRST, count + 1), reactor)
        self._running: dict[int, _Running] = {}
        self._starting: dict[int, IDelayedCall] = {}
        self._control: socket.socket | None = None
        self._observers: list[ReloadObserver] = []
        self._stopping = False
        self._stopped: Deferred[None] = Deferred()
        self._drained: dict[int, Deferred[None]] = {}
        self._listeners = BoundListeners(config, reactor, self._disk.remove)
        MultiService.addService(self, self._listeners)
        for subject, take in (
            (RELOADING, self._reloading),
            (RELOADED, self._reloaded),
            (IN_FORCE, self._put_in_force),
            (DRAINED, self._drain),
            (KILL, self._kill),
            (WORKERS, self._status),
        ):
            self._switchboard.own.serve(subject, take)

    # ------------------------------------------------------------ as a server without workers

    def where(self) -> list[dict[str, object]]:
        """See :meth:`~mailserver.app.service.MailService.where`."""
        return self._listeners.where()

    def reload(self) -> "Deferred[CommandOutcome]":
        """See :meth:`~mailserver.app.service.MailService.reload`."""
        return self._switchboard.own.ask(FIRST, RELOAD)

    def observe_reloads(self, observer: ReloadObserver) -> None:
        """See :meth:`~mailserver.app.service.MailService.observe_reloads`."""
        self._observers.append(observer)

    def _reloading(self, _: None) -> None:
        for observer in self._observers:
            observer.reloading()

    def _reloaded(self, outcome: str) -> None:
        for observer in self._observers:
            observer.reloaded(outcome)

    def _put_in_force(self, config: Config) -> None:
        """Workers that start from now on get this configuration."""
        self.config = config
        self._limits.replace(config.limits)

    def _status(self, _: None) -> list[WorkerStatus]:
        """The status of all workers."""
        now, clock = time.time(), self._reactor.seconds()
        found = []
        for number in range(FIRST, self._count + 1):
            running = self._running.get(number)
            if running is None:
                found.append(WorkerStatus(number, 0, now, ready=False))
            else:
                since = now - (clock - running.since)
                found.append(WorkerStatus(number, running.child.pid, since, running.is_ready))
        return found

    # ------------------------------------------------------------ the start

    def startService(self) -> None:
        """Lock the data directory, and start all workers. Blocks until they are ready.

        Raises :class:`~mailserver.errors.CannotStart`.
        """
        folder = self.config.data
        try:
            data.make_own(folder, self._disk)
            self._lock.acquire()
            self._control = control_socket(folder / SOCKET, self._disk.remove)
        except DataInUse as error:
            raise CannotStart(f"data: {error}") from error
        except OSError as error:
            self._lock.release()
            raise CannotStart(f"data: {storage_error(error)}") from error
        try:
            MultiService.startService(self)
            self._start_all()
        except BaseException as error:
            for running in self._running.values():
                running.child.end()
            self._close_control()
            self._lock.release()
            if isinstance(error, OSError):
                raise CannotStart(f"workers: {storage_error(error)}") from error
            raise
        report(ServerReady(listeners=ListenerAddresses(self.where())))

    def _start_all(self) -> None:
        """Start the first worker, and the others when it has recovered the spools."""
        for group in ([FIRST], range(FIRST + 1, self._count + 1)):
            children = [self._start(number) for number in group]
            for running in children:
                running.child.send_order(self._order(running.child.number))
            for running in children:
                self._await(running)
        for running in self._running.values():
            self._attach(running)

    def _await(self, running: _Running) -> None:
        answer = running.child.first_answer()
        if answer is None:
            self._show_errors(running.child)
            raise CannotStart(
                f"worker {running.child.number} has ended during its start: {running.child.end()}"
            )
        if answer.kind is FrameKind.FAILURE:
            raise CannotStart(str(content(answer)))
        running.is_ready = True

    def _show_errors(self, child: WorkerChild) -> None:
        child.errors.setblocking(False)
        try:
            child.complain(child.errors.recv(65536))
        except OSError:
            return  # it has written none

    def _start(self, number: int, delay: float = FIRST_DELAY) -> _Running:
        sockets = [each.descriptor for each in self._listeners.sockets().values()]
        control = [self._control.fileno()] if number == FIRST and self._control is not None else []
        child = WorkerChild(
            number,
            [*sockets, *control, self._lock.descriptor],
            self._limits.connect(number, self._reactor),
            self._log,
            self._folder,
        )
        running = self._running[number] = _Running(child, self._reactor.seconds(), delay)
        return running

    def _order(self, number: int) -> StartOrder:
        child = self._running[number].child
        return StartOrder(
            number=number,
            count=self._count,
            path=self._path,
            config=self.config,
            overrides=self._overrides,
            external=self._external,
            sockets=self._listeners.sockets(),
            limits=child.limits,
            lock=self._lock.descriptor,
            control=None if number != FIRST or self._control is None else self._control.fileno(),
            checkers=self._checkers,
            kept=self._kept,
            log=self._log_section,
        )

    def _attach(self, running: _Running) -> None:
        number = running.child.number
        protocol = running.child.attach(
            self._reactor,
            partial(self._received, running),
            partial(self._lost, running),
        )
        running.send = protocol.send
        self._switchboard.started(number, protocol.send)
        if running.is_ready:
            self._ready(running)
        else:
            protocol.send(self._order(number).frame())

    def _ready(self, running: _Running) -> None:
        """Let a worker serve that has started."""
        running.is_ready = True
        running.send(answer(SUPERVISOR, START, None))
        report(WorkerStarted(worker=running.child.number, pid=running.child.pid))
        self._switchboard.ready(running.child.number)

    def _received(self, running: _Running, frame: Frame) -> None:
        number = running.child.number
        if frame.kind is FrameKind.QUESTION or frame.number != START:
            self._switchboard.received(number, frame)
        elif frame.kind is FrameKind.ANSWER:
            self._ready(running)
        else:
            running.error = str(content(frame))

    # ------------------------------------------------------------ a worker ends

    def _kill(self, number: int) -> None:
        """A worker has not taken a notice."""
        if running := self._running.get(number):
            running.child.kill()

    def _lost(self, running: _Running) -> None:
        number, child = running.child.number, running.child
        status = child.end()
        self._switchboard.gone(number)
        self._limits.gone(number)
        del self._running[number]
        if self._stopping:
            self._drained.pop(number, None)
            self._go_on_stopping()
            return
        lasted = self._reactor.seconds() - running.since
        self._start_later(
            number, child.pid, running.error or status, FIRST_DELAY if lasted > SETTLED else running.delay
        )

    def _start_later(self, number: int, pid: int, reason: str, delay: float) -> None:
        report(WorkerEnded(worker=number, pid=pid, reason=reason, seconds=delay))
        self._starting[number] = self._reactor.callLater(delay, self._start_again, number, delay)

    def _start_again(self, number: int, delay: float) -> None:
        del self._starting[number]
        delay = min(2 * delay, LONGEST_DELAY)
        try:
            running = self._start(number, delay)
        except OSError as error:
            self._start_later(number, 0, str(storage_error(error)), delay)
        else:
            self._attach(running)

    # ------------------------------------------------------------ the stop

    def stopService(self) -> Deferred[None]:
        """Stop listening, stop all workers, the first one last, and release the data directory."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        for call in self._starting.values():
            call.cancel()
        self._close_control()
        await maybeDeferred(MultiService.stopService, self)
        for running in list(self._running.values()):
            if running.is_ready:
                self._switchboard.own.tell(running.child.number, STOP)
            else:
                running.child.kill()
        self._go_on_stopping()
        await self._stopped
        self._switchboard.stop()
        self._lock.release()

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            with suppress(OSError):
                self._disk.remove(self.config.data / SOCKET)

    def _drain(self, number: int) -> "Deferred[None]":
        """A worker has no session any more. Fires when it may close its spool: nobody needs it then."""
        if not self._stopping:
            return succeed(None)
        self._drained[number] = drained = Deferred[None]()
        self._go_on_stopping()
        return drained

    def _go_on_stopping(self) -> None:
        if not self._running:
            if not self._stopped.called:
                self._stopped.callback(None)
        elif self._drained.keys() == self._running.keys():
            # The others may have mail for the first one until they have ended.
            others = [number for number in self._drained if number != FIRST] or [FIRST]
            for number in others:
                if not self._drained[number].called:
                    self._drained[number].callback(None)
