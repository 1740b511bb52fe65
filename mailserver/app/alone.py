"""Runs the work of a command that needs a reactor but none of the parts of a server."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.interfaces import IReactor

T = TypeVar("T")


def run_alone(work: Callable[[IReactor], Coroutine[Deferred[Any], Any, T]]) -> T:
    """Do the work and return its result, or raise its exception.

    The process must not have run its reactor yet. A signal that stops the reactor gives up the work; then it
    raises KeyboardInterrupt.
    """
    from twisted.internet import reactor

    running: Any = reactor
    done: list[T | Failure] = []

    def start() -> None:
        doing: Deferred[Any] = Deferred.fromCoroutine(work(cast(IReactor, reactor)))
        doing.addBoth(done.append).addBoth(lambda _: running.stop())

    running.callWhenRunning(start)
    running.run()
    if not done:
        raise KeyboardInterrupt
    [result] = done
    if isinstance(result, Failure):
        result.raiseException()
    return result
