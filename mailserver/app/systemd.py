"""Notifications to systemd (sd_notify(3)): the server is ready, reloads, stops, and is alive.

A notification is a datagram to the unix socket in ``NOTIFY_SOCKET``. The protocol is small and stable, so no
library is needed. Without systemd nothing is sent.
"""

import os
import socket
import time
from collections.abc import MutableMapping

from twisted.internet.task import LoopingCall

from mailserver.errors import one_line
from mailserver.events.base import report
from mailserver.events.server import SystemdNotNotified
from mailserver.interfaces import IReactor

PATIENCE = 1.0  # seconds to wait for room in the queue of systemd
LONGEST_STATUS = 1000  # characters


class SystemdNotifier:
    """Sends the notifications of this process.

    ``address`` is the name of the socket, which begins with "/", or with "@" if it is abstract (unix(7)); any
    other name sends nothing. ``watchdog`` is the time in seconds after which systemd kills a silent process;
    0 for no watchdog.
    """

    def __init__(self, reactor: IReactor, address: str = "", watchdog: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog = watchdog
        self._alive = LoopingCall(self._send, "WATCHDOG=1", wait=False)
        self._alive.clock = reactor
        self._failed = False
        self._socket: socket.socket | None = None
        if self._address.startswith(("/", "\0")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @classmethod
    def from_environment(cls, reactor: IReactor, environ: MutableMapping[str, str]) -> "SystemdNotifier":
        """Take the variables of systemd out of the environment: they are not for child processes."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        watched = microseconds.isdecimal() and pid in ("", str(os.getpid()))
        return cls(reactor, address, int(microseconds) / 1e6 if watched else 0.0)

    def ready(self, status: str) -> None:
        """The start is complete. From now on, tell the watchdog regularly that the reactor runs."""
        self._send(f"READY=1\nSTATUS={_status(status)}")
        if self._socket is not None and self._watchdog > 0:
            self._alive.start(self._watchdog / 2, now=False)

    def reloading(self) -> None:
        """A reload begins."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def reloaded(self, outcome: str) -> None:
        """The reload has ended, also if it has failed. ``outcome`` is one line."""
        self._send(f"READY=1\nSTATUS={_status(outcome)}")

    def stopping(self) -> None:
        """The server stops, which may take a while."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def close(self) -> None:
        """The server has stopped."""
        if self._alive.running:
            self._alive.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str, wait: bool = True) -> None:
        if self._socket is None:
            return
        self._socket.settimeout(PATIENCE if wait else 0.0)
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                report(SystemdNotNotified(error=error.strerror or error))
            self._failed = True


def _status(text: str) -> str:
    return one_line(text)[:LONGEST_STATUS]
