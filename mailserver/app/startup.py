"""Reports the outcome of a start to the terminal, also when ``twistd`` runs the server as a daemon.

``twistd`` forks, and its first process waits on a pipe for a report of the daemon. It waits for ever if the
daemon exits without one, and prints only 100 octets of an exception. So the first process waits for the
report of this module first, and for that of ``twistd`` afterwards.
"""

import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mailserver.durable.disk import Disk
from mailserver.errors import one_line

_SERVES = b"\0"


class Startup:
    """The start of a server in the foreground. ``pidfile`` is twistd's, "" if there is none."""

    def __init__(self, pidfile: str = "") -> None:
        self._pidfile = pidfile

    def failed(self, line: str) -> None:
        """The start has failed, and the process ends: print the reason."""
        # twistd has made sys.stderr a part of its log by now.
        if sys.__stderr__ is not None:
            with suppress(OSError):
                print(line, file=sys.__stderr__, flush=True)
        self._remove_pidfile()

    def succeeded(self) -> None:
        """The start has succeeded."""

    def _remove_pidfile(self) -> None:
        if self._pidfile:
            with suppress(OSError):
                Disk().remove(Path(self._pidfile))


class DaemonStartup(Startup):
    """The start of a server that twistd is about to run in the background. ``log`` is its log file."""

    def __init__(self, pidfile: str, log: str) -> None:
        super().__init__(pidfile)
        self._log = log
        self._reader, self._writer = os.pipe()
        self._first = os.getpid()
        self._excepthook = sys.excepthook
        sys.excepthook = self._crashed
        os.register_at_fork(after_in_parent=self._wait)

    def failed(self, line: str) -> None:
        self._report(line.encode())

    def succeeded(self) -> None:
        sys.excepthook = self._excepthook
        self._report(_SERVES)

    def _report(self, report: bytes) -> None:
        if self._writer >= 0:
            # There is no reader if the first process was interrupted.
            with suppress(BrokenPipeError):
                os.write(self._writer, report)
            os.close(self._writer)
            os.close(self._reader)
            self._writer = -1

    def _crashed(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.failed(one_line(traceback.format_exception_only(kind, error)[-1].strip()))
        self._excepthook(kind, error, trace)

    def _wait(self) -> None:
        """In the first process, after its fork: return if the daemon is ready, else print why and exit."""
        if os.getpid() != self._first:
            return
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(self._writer)
        with os.fdopen(self._reader, "rb") as pipe:
            report = pipe.read()
        if report == _SERVES:
            return
        line = report.decode("utf-8", "replace") or f"the server ended during its start; see {self._log}"
        super().failed(line)
        os._exit(1)
