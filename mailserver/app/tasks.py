"""Work that goes on to its end, even if the client that requested it disconnects."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList

T = TypeVar("T")


# Deferred[Any] below: each task has its own type of result.
class Tasks:
    """Runs such work. A stopping server waits for it."""

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()

    def start(self, steps: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Run the steps. To cancel the result does not cancel the work: a thread's change is made, and must
        come into force."""
        work = Deferred.fromCoroutine(steps)
        if not work.called:
            self._running.add(work)
            work.addBoth(self._done, work)
        result: Deferred[T] = Deferred()
        work.chainDeferred(result)
        return result

    def _done(self, result: T, work: Deferred[Any]) -> T:
        self._running.discard(work)
        return result

    async def finish(self) -> None:
        """Wait for all work that runs."""
        await DeferredList(self._running, consumeErrors=False)
