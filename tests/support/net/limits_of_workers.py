"""The limits of a worker that asks its supervisor, both in one process."""

import itertools
from collections.abc import Callable
from typing import Any

from mailserver.app.workers.remote_limits import LimitsLine, RemoteLimits, RemoteLogins
from mailserver.app.workers.shared_limits import SharedLimits
from mailserver.config.keys.limits import LimitsSection
from tests.support.fakes import stand_in


class DirectSocket:
    """The socket of a worker, answered at once."""

    def __init__(self, shared: SharedLimits, number: int) -> None:
        self._shared = shared
        self._number = number
        self._answers: list[bytes] = []
        self.calls = 0

    def settimeout(self, seconds: float) -> None:
        """There is nothing to wait for."""

    def send(self, packet: bytes) -> None:
        self.calls += 1
        answer = self._shared.answer(self._number, packet)
        if answer is not None:
            self._answers.append(answer)

    def recv(self, size: int) -> bytes:
        return self._answers.pop(0)


class LimitsOfWorker(RemoteLimits):
    """Those of one worker. A reload reaches the supervisor, too."""

    def __init__(self, settings: LimitsSection, shared: SharedLimits, number: int) -> None:
        self.socket = DirectSocket(shared, number)
        line = LimitsLine(stand_in(self.socket))
        self.shared = shared
        self.logins = RemoteLogins(line)
        super().__init__(settings, line)

    def replace(self, settings: LimitsSection) -> None:
        super().replace(settings)
        self.shared.replace(settings)


class ManyLimits:
    """The limits of several workers, which take turns: each call goes to the next one."""

    def __init__(self, settings: LimitsSection, seconds: Callable[[], float], count: int = 3) -> None:
        self.shared = SharedLimits(settings, seconds)
        self.workers = [LimitsOfWorker(settings, self.shared, number) for number in range(1, count + 1)]
        self._turns = itertools.cycle(self.workers)

    def replace(self, settings: LimitsSection) -> None:
        """A reload reaches all workers."""
        for worker in self.workers:
            worker.replace(settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(next(self._turns), name)
