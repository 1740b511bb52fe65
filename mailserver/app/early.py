"""The first moment of a server's process, before anything slow is imported. For the plugin of ``twistd``."""

import ctypes
import os
import signal
import sys
from types import FrameType

# glibc gives threads heaps of their own, up to eight for each core. Memory that is free in one of them is of
# no use to the others, and Python's threads take turns anyway (mallopt(3)).
_M_ARENA_MAX = -8
HEAPS = 2


class HeldHangups:
    """Remembers a SIGHUP, which would end the process, until the service has a handler of its own."""

    came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True


def prepare() -> None:
    """Hold hangups, share heaps, and open standard streams that were closed, by ``>&-`` for example.

    The next file to be opened would have the number of such a stream, and ``sys.stdout`` is None.
    """
    signal.signal(signal.SIGHUP, HeldHangups())
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, HEAPS)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115, PTH123 - open until the end
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
