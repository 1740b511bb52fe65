"""Measures the processor time of a server, of the load generators, and of all other programs."""

import resource
import time
from types import TracebackType
from typing import Self

from . import processes
from .servers import Server

Figures = dict[str, float]

NOISE = "cores used by other programs"
GENERATOR = "load generator's"
SETTLE = 0.2  # seconds for the last child processes to end


class Meter:
    """Processor time during a ``with`` block: of a server, of the load generators, and of other programs."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seconds = self.cpu = self.generators = self.machine = 0.0

    def __enter__(self) -> Self:
        self._add(-1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        time.sleep(SETTLE)
        self._add(1)

    def _add(self, sign: int) -> None:
        self.seconds += sign * time.monotonic()
        self.cpu += sign * processes.cpu(self.server.roots())
        self.machine += sign * processes.machine()
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            self.generators += sign * (used.ru_utime + used.ru_stime)

    def figures(self, unit: str, units: int) -> Figures:
        """Milliseconds per unit, and the cores that other programs used."""
        return {
            f"CPU ms a {unit}": self.cpu * 1000 / units,
            f"{GENERATOR} CPU ms a {unit}": self.generators * 1000 / units,
            NOISE: max(0.0, self.machine - self.cpu - self.generators) / self.seconds,
        }
