"""Sends log messages to a socket without waiting for its reader: of the journal, or of a syslog server.

A message is sent at once if that cannot block, so it survives if the process is killed. Otherwise it goes
into a queue of limited length, which a thread sends. The thread also connects again if the reader was
restarted. If the queue is full, messages are dropped, and one message with their number replaces them.
"""

import atexit
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

LIMIT = 4 << 20  # octets in the queue
FINISH_SECONDS = 2.0  # wait for the reader at the end of the process
RETRY_SECONDS = 1.0  # between two attempts to connect
POLL_SECONDS = 1.0
ATTEMPTS = 3  # connections that a message is sent on


class LogSocket:
    """Takes whole messages from any thread and from signal handlers, and keeps their order.

    ``connect`` returns a connected socket, and may block. ``send`` sends one message on a socket that does
    not block, and returns the part that is left; it raises ``OSError`` as ``socket.send`` does. ``dropped``
    makes the message that replaces a number of dropped ones.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        send: Callable[[socket.socket, bytes], bytes],
        dropped: Callable[[int], bytes],
        limit: int = LIMIT,
    ) -> None:
        """Connect. Raises ``OSError``."""
        self._connect = connect
        self._send = send
        self._dropped_message = dropped
        self._limit = limit
        self._messages: deque[bytes] = deque()
        self._octets = 0
        self._dropped = 0
        self._sending = False  # here, in the thread, or in code that a signal handler has interrupted
        # The first message of the queue is the rest of one that is partly sent.
        self._is_partial = False
        self._failures = 0
        # Reentrant because signal handlers log, too.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._is_started = False
        self._deadline: float | None = None
        self._socket: socket.socket | None = self._connected()
        atexit.register(self.finish)

    def _connected(self) -> socket.socket:
        connected = self._connect()
        connected.setblocking(False)
        return connected

    def write(self, message: bytes) -> None:
        """Send, queue or drop a message."""
        with self._lock:
            busy, self._sending = self._sending, True
            try:
                if busy or self._messages or self._dropped:
                    self._put(message)
                else:
                    self._try(message)
            finally:
                self._sending = busy
            if self._messages or self._dropped:
                self._wake()

    def finish(self) -> None:
        """Wait until the queue is empty, at most two seconds in all; called at the end of the process."""
        if self._deadline is None:
            self._deadline = time.monotonic() + FINISH_SECONDS
        with self._changed:
            self._changed.wait_for(
                lambda: not (self._messages or self._dropped), max(0.0, self._deadline - time.monotonic())
            )

    def _put(self, message: bytes) -> None:
        if self._dropped or self._octets + len(message) > self._limit:
            self._dropped += 1
        else:
            self._messages.append(message)
            self._octets += len(message)

    def _put_back(self, message: bytes) -> None:
        self._messages.appendleft(message)
        self._octets += len(message)

    def _try(self, message: bytes) -> bool:
        """Send a message; what cannot be sent goes to the front of the queue. Returns whether nothing did."""
        if self._socket is None:
            self._put_back(message)
            return False
        try:
            left = self._send(self._socket, message)
        except BlockingIOError:
            left = message
        except OSError:
            self._disconnect()
            self._failures += 1
            # A message that no new connection can send must not hold up the others.
            lost = self._is_partial or self._failures > ATTEMPTS
            self._dropped += lost
            left = b"" if lost else message
            self._is_partial = False
        else:
            self._is_partial = bool(left)
            self._failures = 0
        if left:
            self._put_back(left)
        return not left

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # ------------------------------------------------------------ the thread

    def _wake(self) -> None:
        if not self._is_started:
            self._is_started = True
            threading.Thread(target=self._run, name="log", daemon=True).start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._messages or self._dropped):
                    self._changed.wait()
                reader = self._socket
            if reader is None:
                self._connect_again()
            else:
                _wait_until_writable(reader)
                self._send_queue()

    def _connect_again(self) -> None:
        try:
            if self._failures > 1:
                time.sleep(RETRY_SECONDS)
            connected = self._connected()
        except OSError:
            time.sleep(RETRY_SECONDS)
            return
        with self._lock:
            self._socket = connected
            if self._is_partial and self._messages:
                # The new reader has not seen its beginning.
                self._octets -= len(self._messages.popleft())
            self._is_partial = False

    def _send_queue(self) -> None:
        with self._changed:
            self._sending = True
            try:
                while self._messages:
                    message = self._messages.popleft()
                    self._octets -= len(message)
                    if not self._try(message):
                        return
                if self._dropped:
                    count, self._dropped = self._dropped, 0
                    self._put(self._dropped_message(count))
            finally:
                self._sending = False
                self._changed.notify_all()


def _wait_until_writable(reader: socket.socket) -> None:
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(reader, select.POLLOUT)
        poll.poll(POLL_SECONDS * 1000)
