"""A worker as the supervisor sees it: its process, the socket for questions, and its log lines."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

import mailserver
from mailserver.app.workers.order import StartOrder
from mailserver.cluster.frames import Frame
from mailserver.cluster.wire import FrameProtocol, adopt, receive_now, send_now
from mailserver.events.base import report
from mailserver.events.cluster import WorkerOutput
from mailserver.interfaces import IReactor

PROGRAM = "mailserver.app.workers"
LONGEST_LINE = 1 << 20  # octets of the log; a longer line is passed on in pieces


class WorkerChild:
    """The process of one worker.

    ``channel``, ``output`` and ``errors`` are the supervisor's ends of its sockets. ``limits`` is the
    descriptor of its socket for shared limits.
    """

    def __init__(
        self,
        number: int,
        inherited: Collection[int],
        limits: socket.socket,
        log: Callable[[bytes], object] | None,
        folder: str,
    ) -> None:
        """Start the process. It inherits the descriptors and the socket ``limits``, which is closed here.

        ``log`` takes whole lines of its standard output, None to let it inherit that of this process.
        ``folder`` is its working directory. Raises ``OSError``.
        """
        self._log = log
        self.number = number
        self.limits = limits.fileno()
        self.channel, channel = socket.socketpair()
        self.output, output = socket.socketpair()
        self.errors, errors = socket.socketpair()
        with channel, output, errors, limits:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, str(number), str(channel.fileno()), mailserver.__version__],
                stdin=subprocess.DEVNULL,
                stdout=None if log is None else output.fileno(),
                stderr=errors.fileno(),
                pass_fds=[channel.fileno(), limits.fileno(), *inherited],
                env={**os.environ, "PYTHONPATH": _with_package(os.environ.get("PYTHONPATH"))},
                cwd=folder,
            )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    # ------------------------------------------------------------ before the reactor runs

    def send_order(self, order: StartOrder) -> None:
        """Send the start order. Blocks; a process that has ended ignores it."""
        try:
            send_now(self.channel, order.frame())
        except OSError:
            return  # the answer is missing, too

    def first_answer(self) -> Frame | None:
        """The answer to the start order; None if the process has ended. Blocks."""
        try:
            return receive_now(self.channel)
        except OSError:
            return None

    # ------------------------------------------------------------ in the reactor

    def attach(
        self,
        reactor: IReactor,
        received: Callable[[Frame], None],
        lost: Callable[[], None],
    ) -> FrameProtocol:
        """Read the sockets from now on. ``received`` takes each frame, and ``lost`` is called at their
        end."""
        protocol = FrameProtocol(received, lost)
        adopt(reactor, self.channel, protocol)
        adopt(reactor, self.output, _Lines(self._log or (lambda lines: None)))
        adopt(reactor, self.errors, _Lines(self.complain))
        return protocol

    def complain(self, lines: bytes) -> None:
        """Report lines of its standard error."""
        for line in lines.decode("utf-8", "backslashreplace").splitlines():
            report(WorkerOutput(worker=self.number, line=line))

    # ------------------------------------------------------------ the end

    def end(self) -> str:
        """Wait for a process that has closed its socket, or kill it. Returns how it has ended."""
        try:
            status = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def kill(self) -> None:
        """Kill the process; the socket for questions notices its end."""
        self._process.kill()


class _Lines(Protocol):
    """Passes on whole lines."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        data = self._rest + data
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) > LONGEST_LINE:
            data, whole = data + b"\n", len(data) + 1
        self._rest = data[whole:]
        if whole:
            self._take(data[:whole])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._rest:
            self._take(self._rest + b"\n")


def _with_package(paths: str | None) -> str:
    """The search path of Python with the place of this package, which need not be installed."""
    place = str(Path(mailserver.__file__).parent.parent)
    return os.pathsep.join([place, *([paths] if paths else [])])
