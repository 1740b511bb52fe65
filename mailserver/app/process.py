"""The process of a server that ``twistd mailserver`` runs: umask, descriptors, signals, memory, exit status.

Only ``tap`` uses it. ``early`` is for the first moment of the process.
"""

import gc
import json
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver

from mailserver.app.early import HeldHangups
from mailserver.app.memory import MemoryTrimmer
from mailserver.app.service import MailService
from mailserver.app.startup import Startup
from mailserver.app.systemd import SystemdNotifier
from mailserver.app.workers.supervisor import Supervisor
from mailserver.control.channel import CommandFailed
from mailserver.durable.disk import Disk
from mailserver.errors import CannotStart
from mailserver.events.base import report
from mailserver.events.server import ListenerAddresses, StartFailed
from mailserver.interfaces import IReactor


def use_steady_clock(reactor: Any) -> None:
    """Use the monotonic clock for the reactor's time: Twisted uses the wall clock, which may jump."""
    behind = time.monotonic() - reactor.seconds()
    for call in reactor.getDelayedCalls():
        call.delay(behind)
    reactor.seconds = time.monotonic


def use_all_descriptors() -> None:
    """Raise the limit of descriptors as far as possible: the usual one is for programs with ``select``, and
    too low for ``limits.connections``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def freeze_start() -> None:
    """Begin garbage collection, without all objects made by the start.

    Otherwise each full collection traverses all modules and the configuration, and stops all threads
    meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


class StopSignals:
    """Holds SIGTERM and SIGINT from the start of the service until the reactor runs.

    Otherwise they would end the process at once, even if the server has already reported that it is ready.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor: Any = reactor  # sigInt is in no interface
        self._held: int | None = None

    def hold(self) -> None:
        """Hold the signals from now on. The first of them is handled once the reactor runs."""
        signal.signal(signal.SIGTERM, self._hold)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._hold)
        self._reactor.callWhenRunning(self._release)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._held = self._held or number

    def _release(self) -> None:
        # The reactor has its own handler of SIGTERM now, but replaces none of SIGINT that is not Python's.
        if signal.getsignal(signal.SIGINT) == self._hold:
            signal.signal(signal.SIGINT, self._reactor.sigInt)
        if self._held is not None:
            signal.raise_signal(self._held)


class ServerProcess(MultiService):
    """A mail service with a process of its own.

    SIGHUP reloads the configuration. SIGTERM and SIGINT stop the service, also if they come during the start.
    If the start fails, the process ends with one line and exit status 1.
    """

    def __init__(
        self,
        reactor: IReactor,
        service: MailService | Supervisor,
        path: Path,
        ready_file: Path | None,
        observer: ILogObserver | None,
        startup: Startup,
        systemd: SystemdNotifier,
    ) -> None:
        """``path`` is the file of the configuration, for errors; ``observer`` writes the log, None to leave
        that to Twisted; ``startup`` takes the outcome of the start, and ``systemd`` that of everything."""
        MultiService.__init__(self)
        self._reactor = reactor
        self._service = service
        self._path = path
        self._ready_file = ready_file
        self._observer = observer
        self._startup = startup
        self._systemd = systemd
        service.observe_reloads(systemd)
        self._held: Any = None
        MultiService.addService(self, MemoryTrimmer(reactor))
        MultiService.addService(self, service)

    def setServiceParent(self, parent: Any) -> None:
        """Join the application, and set its log observer."""
        MultiService.setServiceParent(self, parent)
        if self._observer is not None:
            parent.setComponent(ILogObserver, self._observer)

    def privilegedStartService(self) -> None:
        """Bind the ports. Raises SystemExit if a port cannot be bound."""
        self._or_exit(lambda: MultiService.privilegedStartService(self))

    def startService(self) -> None:
        """Start the service. Raises SystemExit if that fails."""
        os.umask(0o077)
        use_all_descriptors()
        StopSignals(self._reactor).hold()
        self._or_exit(lambda: MultiService.startService(self))
        self._held = signal.signal(signal.SIGHUP, self._hung_up)
        self._or_exit(self._write_ready_file)
        self._startup.succeeded()
        self._systemd.ready(f"serving {ListenerAddresses(self._service.where())}")
        freeze_start()
        if isinstance(self._held, HeldHangups) and self._held.came:
            # The configuration may have been read before.
            self._hung_up(signal.SIGHUP, None)

    def stopService(self) -> Deferred[None]:
        """Stop the service."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._systemd.stopping()
        await MultiService.stopService(self)
        if self._held is not None:
            signal.signal(signal.SIGHUP, self._held)
        self._systemd.close()

    def _or_exit(self, step: Callable[[], object]) -> None:
        try:
            step()
        except CannotStart as error:
            line = f"{self._path}: {error}"
            report(StartFailed(reason=line))
            self._startup.failed(line)
            raise SystemExit(1) from None

    def _write_ready_file(self) -> None:
        if self._ready_file is None:
            return
        content = json.dumps({"pid": os.getpid(), "listeners": self._service.where()})
        try:
            Disk().replace(self._ready_file, content.encode() + b"\n")
        except OSError as error:
            raise CannotStart(f"--ready-file {self._ready_file}: {error.strerror}") from error

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        # The outcome is in the log already.
        self._service.reload().addErrback(lambda failure: failure.trap(CommandFailed) and None)
