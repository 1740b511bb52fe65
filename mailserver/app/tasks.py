"""Tasks that run to their end, even if the client that requested them disconnects."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList

T = TypeVar("T")


# Deferred[Any] below: each task has its own type of result.
class Tasks:
    """The running tasks. A stopping server waits for them."""

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()

    def start(self, steps: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Run the steps. Cancelling the result does not cancel them: a change that a thread makes must come
        into force."""
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
        """Wait for all running tasks."""
        await DeferredList(self._running, consumeErrors=False)
