"""The socket that systemd listens on for notifications of a service."""

import os
import select
import socket
from pathlib import Path


class NotifySocket:
    """A socket as in ``NOTIFY_SOCKET``, and the datagrams that come to it."""

    def __init__(self, path: Path | None = None) -> None:
        """Without a path it is an abstract one."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(120)
        # With an empty name the kernel chooses an abstract one.
        self._socket.bind(str(path) if path else "")
        name = self._socket.getsockname()
        self.address = os.fsdecode(name).replace("\0", "@", 1) if isinstance(name, bytes) else str(name)

    def next(self) -> dict[str, str]:
        """The variables in the next datagram."""
        text = self._socket.recv(4096).decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    def next_state(self) -> dict[str, str]:
        """The same, but signs of life are skipped."""
        while "WATCHDOG" in (found := self.next()):
            pass
        return found

    def is_empty(self) -> bool:
        """Whether no datagram waits."""
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        self._socket.close()
