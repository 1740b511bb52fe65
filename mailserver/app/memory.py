"""Returns free memory to the system.

The C library keeps freed memory in its heaps, and returns only the part at their ends: tens of MiB stay
after large messages or many clients. glibc's ``malloc_trim`` returns the rest. It blocks the heaps for some
ms of each 100 MiB, so it is called only when there is much to return. The garbage collector stops all
threads for longer. It runs after a peak, once the memory in use does not change any more: cancelled logins
leave cycles of tens of KiB each, and an idle server would keep them.
"""

import ctypes
import gc
import mmap
from pathlib import Path
from typing import Any

import attrs
from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred

from mailserver.interfaces import IReactor
from mailserver.threads.pool import run_in_thread

INTERVAL = 10.0  # seconds between two looks
LEAST = 4 << 20  # octets that are worth the call
PART = 16  # and this part of the memory in use
LITTLE = 1 << 20  # octets: no change

_libc: Any = ctypes.CDLL(None)
_HAS_FIGURES = hasattr(_libc, "mallinfo2")


class _Figures(ctypes.Structure):
    """``struct mallinfo2`` (mallinfo(3)). ``fordblks``: free octets in the heaps, returned or not."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


if _HAS_FIGURES:
    _libc.mallinfo2.restype = _Figures


@attrs.frozen
class MemoryUse:
    """The octets that the process takes of the memory, and those that are free in its heaps."""

    resident: int
    free: int

    @classmethod
    def now(cls) -> "MemoryUse":
        """As it is now (proc(5))."""
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return cls(pages * mmap.PAGESIZE, int(_libc.mallinfo2().fordblks))

    def is_much_more(self, before: "MemoryUse") -> bool:
        """Whether so much was allocated or freed since then that a call is worth it."""
        much = max(LEAST, self.resident // PART)
        return self.resident - before.resident > much or self.free - before.free > much


class MemoryTrimmer(TimerService):
    """Returns free memory regularly, in a thread. Does nothing if the C library is not glibc."""

    def __init__(self, reactor: IReactor) -> None:
        TimerService.__init__(self, INTERVAL, lambda: self._in_thread(reactor))
        self.clock = reactor
        self._last = MemoryUse(0, 0)
        # The resident memory at the last look, and whether a peak was seen since the last collection.
        self._seen = 0
        self._due = False

    def _in_thread(self, reactor: IReactor) -> "Deferred[None]":
        return run_in_thread(reactor, self.look)

    def look(self) -> None:
        """Return free memory, if there may be much, or if a peak is over."""
        if not _HAS_FIGURES:
            return
        now = MemoryUse.now()
        calm = abs(now.resident - self._seen) <= LITTLE
        self._seen = now.resident
        peak = now.is_much_more(self._last)
        self._due |= peak or now.resident - self._last.resident > LITTLE
        if peak or (calm and self._due):
            if not peak:
                gc.collect()
                self._due = False
            _libc.malloc_trim(0)
            self._last = MemoryUse.now()
            self._seen = self._last.resident
