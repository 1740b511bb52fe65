"""Another client, which says NOOP again and again while something large is done."""

import threading
import time
from collections.abc import Callable

from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import Server

# Seconds that a NOOP may take. On an idle machine it is far below 100 ms; tests share theirs.
STALL = 0.25
ATTEMPTS = 3  # the machine may be busy with something else


class _Probe(threading.Thread):
    """Another client, which says NOOP again and again; ``longest`` is the longest wait for an answer."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.longest = 0.0
        self._session = Smtp(server.smtp)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.002):
            start = time.perf_counter()
            self._session.expect(b"NOOP", b"250 ")
            self.longest = max(self.longest, time.perf_counter() - start)

    def end(self) -> float:
        self._over.set()
        self.join()
        self._session.close()
        return self.longest


def longest_wait(server: Server, work: Callable[[], object]) -> float:
    """The longest wait for an answer to NOOP in the meantime, in seconds; of several attempts the best."""
    found = []
    for _ in range(ATTEMPTS):
        probe = _Probe(server)
        probe.start()
        work()
        found.append(probe.end())
        if found[-1] < STALL:
            break
    return min(found)
