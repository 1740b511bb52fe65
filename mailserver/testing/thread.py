"""The thread that all servers of a process run in: a reactor of its own, never installed as the global one.

It starts with the first server, and ends with :func:`stop_thread` or with the process.
"""

import os
import threading
from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from mailserver.testing.authority import FixtureAuthority

T = TypeVar("T")

CALL_TIMEOUT = 60.0  # seconds; a call that takes longer is a bug, or advances the clock very far


class ReactorThread:
    """A reactor in a thread. ``authority`` signs the certificates of its servers."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        # Any: it has more than the interfaces that Twisted declares for it.
        self.reactor: Any = EPollReactor()
        self.authority = FixtureAuthority()
        running = threading.Event()
        self.reactor.callWhenRunning(running.set)
        self._thread = threading.Thread(target=self._run, name="mailserver-fixture", daemon=True)
        self._thread.start()
        running.wait()

    def _run(self) -> None:
        self.reactor.run(installSignalHandlers=False)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.get_ident() == self._thread.ident

    @property
    def is_of_another_process(self) -> bool:
        """Whether this process was forked from the one that the thread runs in."""
        return self.pid != os.getpid()

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in the thread, and wait for its result. Raises what it raises.

        In the thread itself it is called at once.
        """
        if self.is_current:
            return function(*arguments)

        async def whole() -> T:
            return function(*arguments)

        return self.run(whole())

    # Any: the type of a coroutine for ``Deferred.fromCoroutine``.
    def run(self, steps: Coroutine[Deferred[Any], Any, T]) -> T:
        """Run a coroutine in the thread, and wait for its result. Raises what it raises, and TimeoutError."""
        if self.is_current or self.is_of_another_process:
            steps.close()
            where = (
                "in the thread of the servers"
                if self.is_current
                else "after a fork: the parent has the server"
            )
            raise RuntimeError(f"this cannot be called {where}")
        results: SimpleQueue[T | Failure] = SimpleQueue()
        self.reactor.callFromThread(lambda: Deferred.fromCoroutine(steps).addBoth(results.put))
        try:
            result = results.get(timeout=CALL_TIMEOUT)
        except Empty:
            raise TimeoutError(f"the thread of the servers took longer than {CALL_TIMEOUT:g} s") from None
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def stop(self) -> None:
        """End the thread and close its descriptors."""
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join()
        self.authority.close()
        for reader in self.reactor.removeAll():
            reader.connectionLost(Failure(ConnectionAbortedError("the reactor has stopped")))
        self.reactor._poller.close()


_thread: ReactorThread | None = None
_lock = threading.Lock()


def reactor_thread() -> ReactorThread:
    """The thread of this process; it starts if it does not run. A forked process gets another one."""
    global _thread
    with _lock:
        if _thread is None or _thread.is_of_another_process:
            _thread = ReactorThread()
        return _thread


def stop_thread() -> None:
    """End the thread, if it runs. All servers must be stopped."""
    global _thread
    with _lock:
        thread, _thread = _thread, None
    if thread is not None and not thread.is_of_another_process:
        thread.stop()
