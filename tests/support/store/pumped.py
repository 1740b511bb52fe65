"""A reactor that a test pumps: real threads, but what they hand back runs only while the test waits."""

from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

PATIENCE = 60.0  # seconds


class PumpedReactor:
    """What the mailbox stores use of ``IReactorThreads``."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Any] = SimpleQueue()
        self._pool = ThreadPool(0, 8)
        self._pool.start()

    def getThreadPool(self) -> ThreadPool:
        return self._pool

    def callFromThread(self, function: Any, *arguments: Any, **named: Any) -> None:
        self._calls.put(lambda: function(*arguments, **named))

    def wait(self, deferred: "Deferred[Any]") -> Any:
        """The result of a Deferred, or the exception that it failed with."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        deadline = monotonic() + PATIENCE
        while not results:
            self.run_call(max(deadline - monotonic(), 0))
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def run_call(self, patience: float = PATIENCE) -> None:
        """Run the next call that a thread hands back."""
        try:
            call = self._calls.get(timeout=patience)
        except Empty:
            raise AssertionError(f"nothing happened in {PATIENCE} seconds") from None
        call()

    def stop(self) -> None:
        self._pool.stop()
