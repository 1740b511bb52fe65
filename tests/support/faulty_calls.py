"""System calls that are recorded, and fail when a test wants them to."""

import gc
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mailserver.durable.calls import SystemCalls

NAMES = ("open", "write", "fsync", "syncfs", "close", "mkdir", "rmdir", "rename", "link", "unlink", "commit")


def open_files(folder: Path) -> list[str]:
    """The files and folders in ``folder`` that this process has open, without those that only garbage holds.

    Files elsewhere do not count: other threads of the process open and close theirs meanwhile.
    """
    gc.collect()
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            if (target := descriptor.readlink()).is_relative_to(folder):
                found.append(str(target))
    return sorted(found)


class FaultyCalls(SystemCalls):
    """``fails(number, name)`` says whether a call, counted from 1, fails with ``error``.

    The file system is as a real failure would leave it: nothing is done, but a descriptor is closed.
    """

    def __init__(self) -> None:
        self.made: list[tuple[str, Any]] = []
        self.error = 0
        self.fails: Callable[[int, str], bool] = lambda number, name: False

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.made]

    def fail_at(self, number: int, error: int) -> None:
        """Forget what was recorded; fail only the call of this number."""
        self.made.clear()
        self.error = error
        self.fails = lambda count, name: count == number

    def fail_all(self, failing: str, error: int) -> None:
        """Forget what was recorded; fail every call of this name."""
        self.made.clear()
        self.error = error
        self.fails = lambda count, name: name == failing

    def fail_none(self) -> None:
        """Forget what was recorded; fail nothing more."""
        self.made.clear()
        self.fails = lambda count, name: False


def _recorded(name: str) -> Callable[..., Any]:
    real = getattr(SystemCalls, name)

    def call(self: FaultyCalls, *arguments: Any) -> Any:
        self.made.append((name, arguments[0]))
        failing = self.fails(len(self.made), name)
        if failing and name == "close":
            real(self, *arguments)
        if failing:
            raise OSError(self.error, os.strerror(self.error))
        return real(self, *arguments)

    return call


for _name in NAMES:
    setattr(FaultyCalls, _name, _recorded(_name))
