"""Short turns of the interpreter while a thread computes for long.

The reactor's thread releases the interpreter at each system call. Beside a thread that computes, it then
waits for the end of that thread's turn: 5 ms by Python's default, at each call. Short turns cost
throughput, so they are in force only while such work runs.
"""

import sys
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

SHORT = 0.0001  # seconds

P = ParamSpec("P")
T = TypeVar("T")


class _ShortInterval:
    """Counts the running work. There is one instance, as there is one interval for the interpreter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._usual = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._running:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(SHORT)
            self._running += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                sys.setswitchinterval(self._usual)


_short_interval = _ShortInterval()


def with_short_switch_interval(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, for a thread: while it runs, no thread keeps the interpreter for long."""

    def run(*arguments: P.args, **options: P.kwargs) -> T:
        with _short_interval:
            return function(*arguments, **options)

    return run
