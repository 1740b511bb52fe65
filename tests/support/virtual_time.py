"""A reactor with real sockets and threads, whose time passes only while nobody does anything.

Whenever no socket is ready, no thread works and nothing is due, the clock jumps to the next delayed call. So
a whole server talks with real DNS servers and real mail servers in the same process, and five days take as
long as what happens in them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.protocols import tls
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailserver.dns.transport import Datagrams
from mailserver.queue.writer import Job, SpoolWriter

GRACE = 0.003  # real seconds for what is on its way through the kernel
DNS_GRACE = 0.1  # real seconds for a server in another thread
PATIENCE = 60.0  # real seconds


class CountedPool(ThreadPool):
    """Knows how many calls are not done."""

    def __init__(self) -> None:
        super().__init__(1, 10)
        self.undone = 0

    def callInThreadWithCallback(self, onResult: Any, func: Any, *args: Any, **kw: Any) -> None:
        def done(success: bool, result: Any) -> None:
            if onResult is not None:
                onResult(success, result)
            self.undone -= 1  # after its result waits for the reactor, which looks at that first

        self.undone += 1
        super().callInThreadWithCallback(done, func, *args, **kw)


class VirtualTimeReactor(EPollReactor):
    """See the module. ``ports``: connections to the port of the key go to that of the value, for port 25 is
    nobody's but root's. ``start`` is the time, in seconds."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        super().__init__()
        self.ports: dict[int, int] = {}
        self.jobs: set[Job] = set()
        self._time = start
        self._moved = False
        self._pool = CountedPool()

    def seconds(self) -> float:
        return self._time

    def getThreadPool(self) -> CountedPool:
        return self._pool

    def connectTCP(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        return super().connectTCP(host, self.ports.get(port, port), *args, **kwargs)

    def _grace(self) -> float:
        return DNS_GRACE if any(isinstance(one, Datagrams) for one in self.getReaders()) else GRACE

    def _doReadOrWrite(self, *args: Any) -> None:
        self._moved = True
        super()._doReadOrWrite(*args)

    def doIteration(self, delay: float | None) -> None:
        self._moved = False
        self.doPoll(0 if delay == 0 else self._grace())
        if delay != 0 and not (self._moved or self._pool.undone or self.jobs or self.threadCallQueue):
            due = [call.getTime() for call in self.getDelayedCalls()]
            self._time = max(self._time, min(due, default=0.0))

    def run_until(self, condition: Callable[[], object], what: str) -> None:
        """Go on until this is true. Fails after :data:`PATIENCE`."""
        end = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < end, f"waited for {what}"
            self.runUntilCurrent()
            self.doIteration(self.timeout())

    def wait(self, deferred: "Deferred[Any]") -> Any:
        """The result."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.run_until(lambda: results, "a Deferred")
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass, with all that happens in it."""
        over: list[None] = []
        self.callLater(seconds, over.append, None)
        self.run_until(lambda: over, f"{seconds} s to pass")


@contextmanager
def virtual_time() -> Iterator[VirtualTimeReactor]:
    """A reactor that runs when it is told to, and leaves nothing behind."""
    reactor = VirtualTimeReactor()
    submit = SpoolWriter.submit

    def counted(writer: SpoolWriter, job: Job) -> "Deferred[None]":
        reactor.jobs.add(job)
        job.done.addBoth(over, job)
        return submit(writer, job)

    def over(result: Any, job: Job) -> Any:
        reactor.jobs.discard(job)
        return result

    with (
        patch.object(SpoolWriter, "submit", counted),
        patch.object(tls, "_get_default_clock", lambda: reactor),
    ):
        reactor._pool.start()
        reactor.startRunning(installSignalHandlers=False)
        try:
            yield reactor
        finally:
            reactor.disconnectAll()
            reactor.stop()
            for _ in range(3):
                reactor.runUntilCurrent()
                reactor.doPoll(0)
            reactor._pool.stop()
            reactor._uninstallHandler() if hasattr(reactor, "_uninstallHandler") else None
