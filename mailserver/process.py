"""What a process that becomes the server needs before anything slow is done: hangups held, streams open."""

import os
import signal
import sys
from types import FrameType


class HeldHangups:
    """Remembers a SIGHUP, which would end the process, until the service has a handler of its own."""

    came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True


def prepare() -> None:
    """Hold hangups, and open standard streams that were closed, by ``>&-`` for example.

    The next file to be opened would have the number of such a stream, and ``sys.stdout`` is None.
    """
    signal.signal(signal.SIGHUP, HeldHangups())
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115, PTH123 - open until the end
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
