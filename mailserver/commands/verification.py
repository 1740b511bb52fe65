"""``mailserver verify``: runs the checks and reports the findings, in a running server or without one.

A server also runs the quick checks at its start, and logs their findings.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.threadpool import ThreadPool

from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.errors import one_line, storage_error
from mailserver.events.base import report
from mailserver.events.storage import CheckAborted, MoreProblemsFound, ProblemFound
from mailserver.interfaces import IReactor
from mailserver.mail.finding import DataCheck, Finding
from mailserver.threads.pool import Threads

MOST_AT_START = 10  # findings that a start logs


def verify(
    data: Path, checks: Sequence[DataCheck], aborted: Callable[[], bool] = lambda: False
) -> CommandOutcome:
    """Run the checks: a line for each finding, its path relative to ``data``, and one that sums up.

    Raises :class:`~mailserver.control.channel.CommandFailed` once ``aborted`` returns true, or if
    something cannot be read at all.
    """
    counts = {kind: 0 for check in checks for kind in check.kinds}
    lines = []
    try:
        for check in checks:
            for found in check.run():
                if aborted():
                    raise CommandFailed("aborted before the end")
                if isinstance(found, Finding):
                    place = found.path.relative_to(data)
                    lines.append(one_line(f"{place}: {found.wrong}; would {found.repair}"))
                else:
                    counts[found] += 1
    except OSError as error:
        raise CommandFailed(str(storage_error(error))) from error
    looked_at = ", ".join(_count(number, kind) for kind, number in counts.items())
    summary = _count(len(lines), "problem") if lines else "all well"
    return CommandOutcome((*lines, f"{looked_at}: {summary}"), status=1 if lines else 0)


def _count(number: int, kind: str) -> str:
    ending = "" if number == 1 else "es" if kind.endswith("x") else "s"
    return f"{number} {kind}{ending}"


class VerificationService(Service):
    """Runs the checks in a thread of its own, one run at a time."""

    def __init__(
        self, reactor: IReactor, data: Path, checks: Sequence[DataCheck], at_start: DataCheck
    ) -> None:
        self._data = data
        self._checks = checks
        self._at_start = at_start
        self._pool = ThreadPool(0, 1, "verify")
        self._threads = Threads(reactor, self._pool)
        self._stopping = threading.Event()
        self._reactor = reactor
        self._first: IDelayedCall | None = None

    def startService(self) -> None:
        """Log in the background what the check of a start finds, once the whole server has started."""
        Service.startService(self)
        self._pool.start()
        self._first = self._reactor.callLater(0, self._warn)

    def _warn(self) -> None:
        looking = self._threads.run(self._look)
        looking.addErrback(lambda failure: report(CheckAborted(error=failure.value)))

    def _look(self) -> None:
        """Log the first findings."""
        number = 0
        for found in self._at_start.run():
            if self._stopping.is_set():
                return
            if not isinstance(found, Finding):
                continue
            if number == MOST_AT_START:
                report(MoreProblemsFound(path=self._data))
                return
            number += 1
            report(ProblemFound(path=found.path, reason=found.wrong, repair=found.repair))

    def stopService(self) -> None:
        """Abort the current run, and wait for its end."""
        Service.stopService(self)
        self._stopping.set()
        if self._first is not None and self._first.active():
            self._first.cancel()
        self._pool.stop()

    def run(self, request: Request) -> Deferred[CommandOutcome]:
        """Run the command. Cancelling the result aborts the run."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> CommandOutcome:
        aborted = threading.Event()

        def ends() -> bool:
            return aborted.is_set() or self._stopping.is_set()

        try:
            return await self._threads.run(verify, self._data, self._checks, ends)
        finally:
            aborted.set()
