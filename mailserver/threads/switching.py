"""A short switch interval of the interpreter while a thread computes for long.

The reactor's thread releases the interpreter at each system call. If another thread computes, the reactor's
thread then waits for the end of the switch interval: 5 ms by Python's default, at each call. A short interval
costs throughput, so it is set only while such work runs.
"""

import sys
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

SHORT = 0.0001  # seconds

P = ParamSpec("P")
T = TypeVar("T")


class _ShortInterval:
    """Counts the running work. The interpreter has one interval, so there is one instance."""

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
    """Wrap a function for a thread: the switch interval is short while it runs."""

    def run(*arguments: P.args, **options: P.kwargs) -> T:
        with _short_interval:
            return function(*arguments, **options)

    return run
