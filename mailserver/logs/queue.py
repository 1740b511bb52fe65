"""Writes log lines to a pipe, a socket or a terminal without waiting for the reader.

A line is written at once if that cannot block, so it survives if the process is killed. Otherwise it goes
into a queue of limited length, which a thread writes out. If the queue is full, lines are dropped, and one
line with their number replaces them.
"""

import atexit
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

LIMIT = 4 << 20  # octets in the queue
FINISH_SECONDS = 2.0  # wait for the reader at the end of the process
_BATCH = 1 << 16  # octets that the thread takes at once


class LineQueue:
    """Takes whole lines from any thread and from signal handlers, and keeps their order.

    ``dropped`` makes the line that replaces a number of dropped ones. A write may still block if another
    process writes to the same pipe.
    """

    def __init__(self, descriptor: int, dropped: Callable[[int], bytes], limit: int = LIMIT) -> None:
        self._descriptor = descriptor
        self._dropped_line = dropped
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._octets = 0
        self._dropped = 0
        # True while the thread, or code that a signal handler has interrupted, writes.
        self._writing = False
        # Reentrant because signal handlers log, too.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        # Locked when the thread has been started.
        self._unstarted = threading.Lock()
        self._deadline: float | None = None
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        # poll() reports a terminal with room for one octet as writable, but a longer write blocks.
        self._is_terminal = os.isatty(descriptor)
        self._poll = self._new_poll()
        atexit.register(self.finish)

    def write(self, line: bytes) -> None:
        """Write, queue or drop a line. Raises OSError if the descriptor is broken."""
        if self._is_file:
            self._write_now(line)
            return
        with self._lock:
            # A signal handler may call this method between any two steps, so set the flag first.
            busy, self._writing = self._writing, True
            try:
                if busy or self._lines or self._dropped:
                    self._put(line)
                elif rest := self._write_now(line):
                    # Goes before the lines that a signal handler has logged meanwhile.
                    self._lines.appendleft(rest)
                    self._octets += len(rest)
            finally:
                self._writing = busy
            if self._lines or self._dropped:
                self._wake()
        if self._deadline is not None:
            self.finish()

    def finish(self) -> None:
        """Wait for the reader, at most two seconds in all; called at the end of the process."""
        if self._deadline is None:
            self._deadline = time.monotonic() + FINISH_SECONDS
        with self._changed:
            self._changed.wait_for(
                lambda: not (self._lines or self._writing or self._dropped),
                max(0.0, self._deadline - time.monotonic()),
            )

    def _new_poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return poll

    def _write_now(self, line: bytes) -> bytes:
        """Write as much as possible without blocking, and return the rest."""
        while line and (self._is_file or (not self._is_terminal and self._poll.poll(0))):
            # A writable pipe has room for that much (POSIX, "write").
            try:
                line = line[os.write(self._descriptor, line[: select.PIPE_BUF]) :]
            except BlockingIOError:
                break
        return line

    def _put(self, line: bytes) -> None:
        if self._dropped or self._octets + len(line) > self._limit:
            self._dropped += 1
        else:
            self._lines.append(line)
            self._octets += len(line)

    # ------------------------------------------------------------ the thread

    def _wake(self) -> None:
        if self._unstarted.acquire(blocking=False):
            threading.Thread(target=self._run, name="log", daemon=True).start()
        self._changed.notify_all()

    def _run(self) -> None:
        poll = self._new_poll()
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                while not (self._lines or self._dropped):
                    self._changed.wait()
                self._writing = True
                batch = self._take()
            # Without a reader the batch is lost; the next write raises the error.
            with suppress(OSError):
                while batch:
                    poll.poll()
                    with suppress(BlockingIOError):
                        batch = batch[os.write(self._descriptor, batch[: _whole(batch)]) :]

    def _take(self) -> bytes:
        batch: list[bytes] = []
        octets = 0
        while self._lines and octets < _BATCH:
            batch.append(self._lines.popleft())
            octets += len(batch[-1])
        self._octets = self._octets - octets if self._lines else 0
        if self._dropped and self._octets <= self._limit // 2:
            line = self._dropped_line(self._dropped)
            self._lines.append(line)
            self._octets += len(line)
            self._dropped = 0
        return b"".join(batch)


def _whole(lines: bytes) -> int:
    """How many octets of the lines to write: whole lines that stay so if other processes write to the same
    pipe (POSIX, "write"). A line longer than that is written in parts."""
    return lines.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
