"""The first moment of a server's process, before anything slow is imported. For the plugin of ``twistd``."""

import ctypes
import gc
import os
import signal
import sys
from types import FrameType

# glibc gives each thread a heap of its own, up to eight for each core (mallopt(3)). A thread cannot use the
# free memory of another heap, and Python's threads do not run in parallel anyway.
_M_ARENA_MAX = -8
HEAPS = 2


class HeldHangups:
    """Holds SIGHUP, which would end the process, until the service has its own handler."""

    came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True


def prepare() -> None:
    """Hold SIGHUP, limit the heaps, and open standard streams that are closed, by ``>&-`` for example.

    Otherwise the next opened file would get the descriptor of such a stream, and ``sys.stdout`` would be
    None. There is no garbage collection until ``process.freeze_start``: modules and accounts stay.
    """
    gc.disable()
    signal.signal(signal.SIGHUP, HeldHangups())
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, HEAPS)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115, PTH123 - open until the end
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
